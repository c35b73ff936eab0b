//! Names the kernel cuts: maps and programs have at most 15 characters
//! (`BPF_OBJ_NAME_LEN` is 16 with its zero, `include/uapi/linux/bpf.h`).

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{File, Finding, rust};

/// What the kernel keeps of a name.
const LONGEST: usize = 15;

/// aya-ebpf's attributes that make a map of a static.
const MAP: [&str; 2] = ["map", "btf_map"];

/// aya-ebpf's attributes that make a program of a function.
const PROGRAM: [&str; 6] = [
    "xdp",
    "classifier",
    "cgroup_skb",
    "kprobe",
    "tracepoint",
    "raw_tracepoint",
];

/// Maps and programs whose names the kernel would cut.
pub fn check(files: &[File]) -> Vec<Finding> {
    let ours = |file: &&File| file.path.starts_with("ha-ebpf/src/");
    let mut found = Vec::new();
    for file in files.iter().filter(ours) {
        for (line, kind, name) in rust::tokens(file).map(objects).unwrap_or_default() {
            if name.len() > LONGEST {
                found.push(file.finding(
                    line,
                    format!(
                        "the name of the {kind} `{name}` has {} characters",
                        name.len()
                    ),
                    format!("at most {LONGEST}, or bpftool shows it cut"),
                ));
            }
        }
    }
    found
}

/// Maps and programs: line, what it is, name.
fn objects(tokens: TokenStream) -> Vec<(usize, &'static str, String)> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut found = Vec::new();
    // Words of the attributes seen since the last item.
    let mut attributes: Vec<String> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group)
                if group.delimiter() == Delimiter::Bracket
                    && at > 0
                    && is_hash(&tokens[at - 1]) =>
            {
                words(group.stream(), &mut attributes);
            }
            TokenTree::Group(group) => {
                found.extend(objects(group.stream()));
                if group.delimiter() == Delimiter::Brace {
                    attributes.clear();
                }
            }
            TokenTree::Ident(word) if word == "static" || word == "fn" => {
                let kind = if word == "fn" {
                    ("program", &PROGRAM[..])
                } else {
                    ("map", &MAP[..])
                };
                let name = tokens[at + 1..].iter().find_map(|next| match next {
                    TokenTree::Ident(name) if name != "mut" => Some(name),
                    _ => None,
                });
                if let Some(name) = name
                    && attributes
                        .iter()
                        .any(|attribute| kind.1.contains(&attribute.as_str()))
                {
                    let given = given_name(&attributes).unwrap_or_else(|| name.to_string());
                    found.push((name.span().start().line, kind.0, given));
                }
                attributes.clear();
            }
            _ => {}
        }
    }
    found
}

/// `#[map(name = "X")]`
fn given_name(attributes: &[String]) -> Option<String> {
    let at = attributes.iter().position(|word| word == "name")?;
    let quoted = attributes.get(at + 1)?;
    quoted
        .strip_prefix('"')?
        .strip_suffix('"')
        .map(str::to_owned)
}

/// Words and literals of an attribute, at any depth (`cfg_attr(.., map)`).
fn words(tokens: TokenStream, into: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => words(group.stream(), into),
            TokenTree::Ident(_) | TokenTree::Literal(_) => into.push(token.to_string()),
            TokenTree::Punct(_) => {}
        }
    }
}

fn is_hash(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == '#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::lines;

    const MAPS: &str = "ha-ebpf/src/maps.rs";

    #[test]
    fn a_name_of_sixteen_is_cut() {
        assert_eq!(
            lines(
                check,
                MAPS,
                "#[btf_map]\npub static ABCDEFGHIJKLMNOP: A = A::new();"
            ),
            [2]
        );
        assert_eq!(
            lines(
                check,
                MAPS,
                "mod a { #[map]\nstatic mut ABCDEFGHIJKLMNOP: A = A::new(); }"
            ),
            [2]
        );
        assert_eq!(
            lines(
                check,
                MAPS,
                "#[map(name = \"ABCDEFGHIJKLMNOP\")]\nstatic A: A = A::new();"
            ),
            [2]
        );
        assert_eq!(
            lines(
                check,
                MAPS,
                "#[xdp]\npub fn abcdefghijklmnop(c: C) -> u32 { 0 }"
            ),
            [2]
        );
        assert_eq!(
            lines(
                check,
                MAPS,
                "#[cfg_attr(target_arch = \"bpf\", xdp)]\nfn abcdefghijklmnop() {}"
            ),
            [2]
        );
    }

    #[test]
    fn fifteen_are_kept_and_other_names_are_free() {
        let text = "#[map]\nstatic ABCDEFGHIJKLMNO: A = A::new();\n#[xdp]\nfn abcdefghijklmno() {}\n\
            static NOT_A_MAP_BUT_A_CONSTANT: u8 = 1;\nfn a_function_with_a_long_name() {}\n\
            #[map(name = \"SHORT\")]\nstatic A_LONG_NAME_IN_RUST: A = A::new();";
        assert_eq!(lines(check, MAPS, text), [0; 0]);
        assert_eq!(
            lines(
                check,
                "ha-agent/src/x.rs",
                "#[map]\nstatic ABCDEFGHIJKLMNOP: A = 1;"
            ),
            [0; 0]
        );
    }
}
