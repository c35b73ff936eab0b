//! What belongs to one developer's machine and not in the tree: its folders, its registries.

use super::{File, Finding};

/// Folders of a machine. The pieces keep this file from finding itself.
const FOLDERS: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/fa", "rm/"),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
];

/// Hosts packages come from, and the settings that name one.
const REGISTRIES: [&str; 13] = [
    concat!("crates", ".io"),
    concat!("static.rust-lang", ".org"),
    concat!("deb.debian", ".org"),
    concat!("security.debian", ".org"),
    concat!("archive.ubuntu", ".com"),
    concat!("registry.npmjs", ".org"),
    concat!("pypi", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("sparse", "+http"),
    concat!("registry", "+http"),
    concat!("replace", "-with"),
    concat!("CARGO_REGIST", "RIES_"),
    concat!("CARGO_SOU", "RCE_"),
];

/// The one source a package in `Cargo.lock` may have.
const LOCKED_SOURCE: &str = concat!(
    "source = \"registry",
    "+https://github.com/rust-lang/crates",
    ".io-index\""
);

/// Paths and hosts of one machine.
pub fn check(files: &[File]) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in files {
        for (line, text) in file.lines() {
            if let Some(folder) = FOLDERS.iter().find(|folder| names_folder(text, folder)) {
                found.push(file.finding(
                    line,
                    format!("a path below `{folder}` exists on one machine only"),
                    "name it relative to the workspace, or by a variable",
                ));
            }
            let host = match file.path.rsplit('/').next() {
                Some("Cargo.lock") => foreign_source(text),
                _ => REGISTRIES.into_iter().find(|host| text.contains(host)),
            };
            if let Some(host) = host {
                found.push(file.finding(
                    line,
                    format!("`{host}` names where packages come from"),
                    "leave that to the machine's own configuration",
                ));
            }
        }
    }
    found
}

/// Whether a line has an absolute path below a folder: `x/home/..` and `./home/..` are others.
fn names_folder(text: &str, folder: &str) -> bool {
    text.match_indices(folder).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + folder.len()..].chars().next();
        !before.is_some_and(|c| c.is_alphanumeric() || "_.-}~".contains(c))
            && after.is_some_and(|c| c.is_alphanumeric() || "._<$".contains(c))
    })
}

/// A package source in `Cargo.lock` that is not the public registry.
fn foreign_source(text: &str) -> Option<&str> {
    (text.starts_with("source = ") && text != LOCKED_SOURCE).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::lines;

    #[test]
    fn folders_of_one_machine_are_found() {
        for folder in FOLDERS {
            for text in [
                format!("cd {folder}x"),
                format!("\"{folder}.cargo\""),
                format!("{folder}bob/x"),
            ] {
                assert_eq!(
                    lines(check, "README.md", &format!("\n{text}")),
                    [2],
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn other_folders_are_not() {
        for folder in FOLDERS {
            for text in [
                format!("src{folder}x"),
                format!(".{folder}x"),
                format!("the folder {folder} itself"),
            ] {
                assert_eq!(lines(check, "README.md", &text), [0; 0], "{text}");
            }
        }
    }

    #[test]
    fn registries_are_found() {
        for host in REGISTRIES {
            assert_eq!(
                lines(
                    check,
                    ".cargo/config.toml",
                    &format!("a = \"https://{host}/\"")
                ),
                [1],
                "{host}"
            );
        }
        assert_eq!(
            lines(check, "README.md", "https://www.rfc-editor.org/rfc/rfc9568"),
            [0; 0]
        );
    }

    #[test]
    fn the_lock_file_names_the_public_registry_and_no_other() {
        assert_eq!(
            lines(
                check,
                "Cargo.lock",
                &format!("name = \"x\"\n{LOCKED_SOURCE}")
            ),
            [0; 0]
        );
        let mirror = concat!("source = \"spa", "rse+https://mirror.example/\"");
        assert_eq!(lines(check, "Cargo.lock", mirror), [1]);
    }
}
