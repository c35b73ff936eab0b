//! Rust files as tokens: comments and strings are out of the way, lines are known.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

use super::{File, Finding};

/// A path as the code writes it, groups of a `use` spelled out: `std::time::Instant`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodePath {
    /// Where it, or its part of a group, begins.
    pub line: usize,
    /// Its parts. `self`, `super` and `crate` at the front of one in the agent's tree are resolved:
    /// it then begins with `crate`.
    pub parts: Vec<String>,
    /// Whether the word before it is `use`: then one part is a path too.
    pub used: bool,
}

impl CodePath {
    /// Whether it begins with these parts.
    pub fn starts_with(&self, parts: &[&str]) -> bool {
        self.parts.len() >= parts.len() && self.parts.iter().zip(parts).all(|(a, b)| a == b)
    }

    /// Whether it ends with these parts.
    pub fn ends_with(&self, parts: &[&str]) -> bool {
        self.parts.len() >= parts.len()
            && self.parts[self.parts.len() - parts.len()..]
                .iter()
                .zip(parts)
                .all(|(a, b)| a == b)
    }
}

/// The tokens of a file; one that has none is reported by [`unreadable`].
pub fn tokens(file: &File) -> Option<TokenStream> {
    file.path
        .ends_with(".rs")
        .then(|| file.text.parse().ok())
        .flatten()
}

/// A Rust file that is not made of Rust tokens: no rule sees into it.
pub fn unreadable(file: &File) -> Option<Finding> {
    (file.path.ends_with(".rs") && file.text.parse::<TokenStream>().is_err())
        .then(|| file.finding(1, "this is not Rust", "`cargo build` says where"))
}

/// Every path in a file, in order.
pub fn paths(file: &File) -> Vec<CodePath> {
    let mut found = Paths {
        module: module_of(&file.path),
        found: Vec::new(),
    };
    if let Some(tokens) = tokens(file) {
        found.walk(tokens);
    }
    found.found
}

/// The module a file is, below its crate: `ha-agent/src/vrrp/router.rs` is `vrrp`, `router`.
pub fn module_of(path: &str) -> Vec<String> {
    let inside = path.split_once("/src/").map_or(path, |(_, inside)| inside);
    let mut parts: Vec<String> = inside
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if parts
        .last()
        .is_some_and(|last| ["lib", "main", "mod"].contains(&last.as_str()))
    {
        parts.pop();
    }
    parts
}

/// Words that may stand before a path beginning with `::` without being part of it.
const BEFORE_PATHS: [&str; 12] = [
    "as", "const", "dyn", "else", "for", "impl", "in", "let", "mut", "return", "static", "use",
];

struct Paths {
    module: Vec<String>,
    found: Vec<CodePath>,
}

impl Paths {
    fn walk(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => {
                    let name = at
                        .checked_sub(2)
                        .and_then(|before| match &tokens[before..at] {
                            [TokenTree::Ident(word), TokenTree::Ident(name)] if word == "mod" => {
                                Some(name.to_string())
                            }
                            _ => None,
                        });
                    let inline = name.filter(|_| group.delimiter() == Delimiter::Brace);
                    self.module.extend(inline.clone());
                    self.walk(group.stream());
                    if inline.is_some() {
                        self.module.pop();
                    }
                    at += 1;
                }
                TokenTree::Ident(word) if BEFORE_PATHS.iter().any(|keyword| word == keyword) => {
                    at += 1
                }
                // A field or a method is no path.
                TokenTree::Ident(word) if !(at > 0 && is_punct(&tokens[at - 1], '.')) => {
                    let used = at > 0 && is_ident(&tokens[at - 1], "use");
                    // `use ::tokio::..`
                    let used = used
                        || (at > 2
                            && separator(&tokens, at - 2)
                            && is_ident(&tokens[at - 3], "use"));
                    at = self.path(&tokens, at, word, Vec::new(), used);
                }
                _ => at += 1,
            }
        }
    }

    /// Reads a path that begins at `at`; returns where it ends.
    fn path(
        &mut self,
        tokens: &[TokenTree],
        mut at: usize,
        first: &Ident,
        prefix: Vec<String>,
        used: bool,
    ) -> usize {
        let line = first.span().start().line;
        let mut parts = prefix;
        parts.push(first.to_string());
        at += 1;
        while separator(tokens, at) {
            match tokens.get(at + 2) {
                Some(TokenTree::Ident(part)) => parts.push(part.to_string()),
                Some(TokenTree::Punct(star)) if star.as_char() == '*' => parts.push("*".to_owned()),
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    self.group(group.stream(), &parts, used);
                    return at + 3;
                }
                // `Vec::<u8>::new`
                _ => break,
            }
            at += 3;
        }
        self.add(CodePath { line, parts, used });
        at
    }

    /// The branches of `prefix::{a, b::c, d as e, self}`.
    fn group(&mut self, tokens: TokenStream, prefix: &[String], used: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for branch in tokens.split(|token| is_punct(token, ',')) {
            match branch.first() {
                Some(TokenTree::Ident(word)) if word == "self" => self.add(CodePath {
                    line: word.span().start().line,
                    parts: prefix.to_vec(),
                    used,
                }),
                Some(TokenTree::Ident(word)) => {
                    self.path(branch, 0, word, prefix.to_vec(), used);
                }
                Some(TokenTree::Punct(star)) => self.add(CodePath {
                    line: star.span().start().line,
                    parts: [prefix, &["*".to_owned()]].concat(),
                    used,
                }),
                _ => {}
            }
        }
    }

    fn add(&mut self, mut path: CodePath) {
        let mut module = self.module.clone();
        let mut taken = 0;
        for part in &path.parts {
            match part.as_str() {
                "self" if taken == 0 => {}
                "super" => drop(module.pop()),
                _ => break,
            }
            taken += 1;
        }
        if taken > 0 && path.parts.len() > 1 {
            let rest = path.parts.split_off(taken);
            path.parts = std::iter::once("crate".to_owned())
                .chain(module)
                .chain(rest)
                .collect();
        }
        self.found.push(path);
    }
}

fn separator(tokens: &[TokenTree], at: usize) -> bool {
    matches!(tokens.get(at..at + 2), Some([a, b]) if is_punct(a, ':') && is_punct(b, ':'))
}

fn is_punct(token: &TokenTree, c: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == c)
}

fn is_ident(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::file;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        paths(&file(path, text))
            .into_iter()
            .filter(|path| path.parts.len() > 1 || path.used)
            .map(|path| (path.line, path.parts.join("::")))
            .collect()
    }

    #[test]
    fn groups_are_spelled_out() {
        let text = "use std::{\n    io::{self, Read as _},\n    time::*,\n};\nuse tokio;\nuse ::aya::Ebpf;";
        let expected = [
            (2, "std::io"),
            (2, "std::io::Read"),
            (3, "std::time::*"),
            (5, "tokio"),
            (6, "aya::Ebpf"),
        ];
        assert_eq!(
            found("x.rs", text),
            expected.map(|(l, p)| (l, p.to_owned()))
        );
    }

    #[test]
    fn paths_in_code_macros_and_attributes_count_but_not_in_comments_and_strings() {
        let text =
            "// a::b\n/// c::d\n#[tokio::test]\nfn f() { info!(\"g::h\", i::j::<u8>()); k.l(); }";
        assert_eq!(
            found("x.rs", text),
            [(3, "tokio::test".to_owned()), (4, "i::j".to_owned())]
        );
    }

    #[test]
    fn relative_paths_are_resolved_inline_modules_too() {
        let text = "use super::a;\nuse self::b;\nmod tests {\n    use super::*;\n    use super::super::c;\n}";
        let expected = [
            (1, "crate::vrrp::a"),
            (2, "crate::vrrp::router::b"),
            (4, "crate::vrrp::router::*"),
            (5, "crate::vrrp::c"),
        ];
        assert_eq!(
            found("ha-agent/src/vrrp/router.rs", text),
            expected.map(|(l, p)| (l, p.to_owned()))
        );
        assert_eq!(
            found("ha-agent/src/netlink.rs", "use super::advert::X;"),
            [(1, "crate::advert::X".to_owned())]
        );
    }

    #[test]
    fn files_are_modules() {
        assert_eq!(module_of("ha-agent/src/lib.rs"), [""; 0]);
        assert_eq!(module_of("ha-agent/src/vrrp/mod.rs"), ["vrrp"]);
        assert_eq!(module_of("ha-agent/src/vrrp.rs"), ["vrrp"]);
    }

    #[test]
    fn what_is_not_rust_is_said() {
        assert!(unreadable(&file("a.rs", "fn f( {")).is_some());
        assert!(unreadable(&file("a.rs", "fn f() {}")).is_none());
        assert!(unreadable(&file("a.txt", "fn f( {")).is_none());
    }
}
