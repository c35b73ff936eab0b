//! Where `unsafe` may stand, and why.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{File, Finding, rust};

/// Where the rule holds.
const RULED: [&str; 2] = ["ha-ebpf/src/", "ha-agent/src/"];

/// Files, or folders, with their reason. Pointer arithmetic on packets is `packet.rs` alone.
const ALLOWED: [(&str, &str); 7] = [
    (
        "ha-ebpf/src/packet.rs",
        "pointer arithmetic on packets, behind one bounds check",
    ),
    (
        "ha-ebpf/src/stats.rs",
        "counters and words of map values, by BPF's atomic instructions",
    ),
    (
        "ha-ebpf/src/vrrp.rs",
        "map values that other CPUs and the agent write meanwhile; kernel helpers",
    ),
    (
        "ha-ebpf/src/fence.rs",
        "map values that the agent writes meanwhile; kernel helpers",
    ),
    ("ha-agent/src/sys.rs", "system calls no crate of ours wraps"),
    ("ha-agent/src/sys/", "system calls no crate of ours wraps"),
    (
        "ha-agent/src/dataplane",
        "maps shared with the kernel: mmap and plain-old-data",
    ),
];

/// Every `unsafe` outside the files that may have it.
pub fn check(files: &[File]) -> Vec<Finding> {
    let ruled = |file: &&File| {
        RULED.iter().any(|start| file.path.starts_with(start))
            && !ALLOWED
                .iter()
                .any(|(start, _)| file.path.starts_with(start))
    };
    let mut found = Vec::new();
    for file in files.iter().filter(ruled) {
        for line in rust::tokens(file).map(places).unwrap_or_default() {
            let fix = "call what packet.rs, sys.rs or dataplane offers, or list the file with a reason in xtask/src/tidy/unsafe_code.rs";
            found.push(file.finding(line, "`unsafe`", fix));
        }
    }
    found
}

/// The lines with an `unsafe` that is not an attribute's (`#[unsafe(no_mangle)]`).
fn places(tokens: TokenStream) -> Vec<usize> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let attribute = || matches!(tokens.get(at + 1), Some(TokenTree::Group(next)) if next.delimiter() == Delimiter::Parenthesis);
        match token {
            TokenTree::Group(group) => found.extend(places(group.stream())),
            TokenTree::Ident(word) if word == "unsafe" && !attribute() => {
                found.push(word.span().start().line)
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::lines;

    const UNSAFE: &str =
        "fn f() {\n    unsafe { g() }\n}\nunsafe fn h() {}\nunsafe impl Pod for X {}";

    #[test]
    fn unsafe_is_found_where_it_may_not_be() {
        for path in [
            "ha-ebpf/src/main.rs",
            "ha-agent/src/engine.rs",
            "ha-agent/src/vrrp/router.rs",
        ] {
            assert_eq!(lines(check, path, UNSAFE), [2, 4, 5], "{path}");
        }
    }

    #[test]
    fn it_may_be_where_the_list_says_and_outside_the_two_crates() {
        for path in [
            "ha-ebpf/src/packet.rs",
            "ha-agent/src/sys.rs",
            "ha-agent/src/dataplane/maps.rs",
            "ha-common/src/lib.rs",
        ] {
            assert_eq!(lines(check, path, UNSAFE), [0; 0], "{path}");
        }
    }

    #[test]
    fn attributes_lints_and_words_are_not_code() {
        let text = "#![deny(unsafe_op_in_unsafe_fn)]\n#[unsafe(no_mangle)]\nstatic A: u8 = 1; // unsafe { }\nconst B: &str = \"unsafe\";";
        assert_eq!(lines(check, "ha-ebpf/src/main.rs", text), [0; 0]);
    }
}
