//! Which toolchain to build with, or what to install next: a pure function of what was seen.

use std::path::PathBuf;

use super::{Compiler, LINKER_VERSION, LLVM_MAJORS, Linker, Toolchain};

/// What [`super::probe`] saw.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The compiler named by `HA_BPF_CARGO` and `HA_BPF_RUSTC`; nothing else is used then.
    pub explicit: Option<Compiler>,
    /// The others, in search order: rustup's nightly and stable, PATH, `/usr/bin`.
    pub compilers: Vec<Compiler>,
    /// The linker named by `BPF_LINKER`; nothing else is used then.
    pub explicit_linker: Option<Linker>,
    /// The others, in search order: PATH, cargo's bin folders.
    pub linkers: Vec<Linker>,
    /// LLVM installations a linker can be built against, by major version.
    pub llvm: Vec<(u32, PathBuf)>,
    /// Whether there is a rustup.
    pub rustup: bool,
    /// Whether apt may install: Debian or a relative, as root.
    pub apt: bool,
    /// What this run tried to install already.
    pub tried: Vec<Step>,
}

/// One thing to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Debian's recent compiler, its cargo and its library source.
    AptCompiler,
    /// The library source for a rustup toolchain that is there.
    RustupSource(String),
    /// A nightly with its library source.
    RustupNightly,
    /// LLVM's development files, of this major version.
    AptLlvm(u32),
    /// bpf-linker for this major version of LLVM, built by this compiler's cargo.
    Linker(u32, Compiler),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Build with this pair.
    Build(Toolchain),
    /// Install this, then look again.
    Install(Step),
    /// Nothing can be done here; why, and the fix, in one line.
    Refuse(String),
}

/// Decides. Explicit choices bind; else the first compiler that has its linker already, else
/// the first compiler that could get one, else a compiler from apt, else one from rustup.
///
/// apt comes before rustup because it offers the LLVM that bpf-linker must be built against
/// for its own compiler only, while a rustup nightly is often an LLVM ahead of it.
pub fn choose(seen: &Environment) -> Plan {
    let usable: Vec<&Compiler> = match &seen.explicit {
        Some(named) => match unfit(named) {
            Some(why) => {
                return Plan::Refuse(format!(
                    "HA_BPF_RUSTC={}: {why}; unset HA_BPF_RUSTC and HA_BPF_CARGO to search",
                    named.rustc.display()
                ));
            }
            None => vec![named],
        },
        None => seen
            .compilers
            .iter()
            .filter(|c| unfit(c).is_none())
            .collect(),
    };
    if let Some(plan) = usable.iter().find_map(|compiler| pair(seen, compiler)) {
        return plan;
    }
    if let (Some(named), Some(compiler)) = (&seen.explicit_linker, usable.first()) {
        return Plan::Refuse(format!(
            "BPF_LINKER={} does not link with LLVM {} as {} needs; unset BPF_LINKER to search",
            named.path.display(),
            compiler.llvm,
            compiler.rustc.display()
        ));
    }
    if let Some(step) = usable
        .iter()
        .find_map(|compiler| linker_step(seen, compiler))
    {
        return Plan::Install(step);
    }
    let bound = seen.explicit.is_some();
    let untried = |step: &Step| !bound && !seen.tried.contains(step);
    if let Some(step) = compiler_steps(seen, &usable).into_iter().find(untried) {
        return Plan::Install(step);
    }
    Plan::Refuse(match usable.first() {
        Some(compiler) => no_linker(compiler),
        None => no_compiler(),
    })
}

/// Why a compiler cannot build for the kernel, if it cannot.
fn unfit(compiler: &Compiler) -> Option<String> {
    if !LLVM_MAJORS.contains(&compiler.llvm) {
        return Some(format!(
            "its LLVM is {}, bpf-linker {LINKER_VERSION} takes {LLVM_MAJORS:?}",
            compiler.llvm
        ));
    }
    (!compiler.has_source).then(|| {
        "its library source (lib/rustlib/src/rust/library/core/Cargo.toml) is missing".to_owned()
    })
}

/// The compiler with the linker that fits it, if there is one. A linker that does not tell
/// its LLVM is taken after those that do.
fn pair(seen: &Environment, compiler: &Compiler) -> Option<Plan> {
    let candidates = || match &seen.explicit_linker {
        Some(named) => std::slice::from_ref(named).iter(),
        None => seen.linkers.iter(),
    };
    let linker = candidates()
        .find(|linker| linker.llvm == Some(compiler.llvm))
        .or_else(|| candidates().find(|linker| linker.llvm.is_none()))?;
    Some(Plan::Build(Toolchain {
        compiler: compiler.clone(),
        linker: linker.clone(),
    }))
}

/// The next step towards a linker for this compiler, if one is left.
fn linker_step(seen: &Environment, compiler: &Compiler) -> Option<Step> {
    let step = if seen.llvm.iter().any(|(major, _)| *major == compiler.llvm) {
        Step::Linker(compiler.llvm, compiler.clone())
    } else if seen.apt {
        Step::AptLlvm(compiler.llvm)
    } else {
        return None;
    };
    (!seen.tried.contains(&step)).then_some(step)
}

/// The ways to a compiler, best first. If there is one already, and only its linker cannot be
/// had, another compiler helps only where LLVM comes with it or is there for it alone.
fn compiler_steps(seen: &Environment, usable: &[&Compiler]) -> Vec<Step> {
    let at_hand = |c: &Compiler| seen.llvm.iter().any(|(major, _)| *major == c.llvm);
    let mut steps = Vec::new();
    if usable.iter().any(|compiler| at_hand(compiler)) {
        return steps;
    }
    if seen.apt {
        steps.push(Step::AptCompiler);
    }
    if seen.rustup {
        let (here, elsewhere): (Vec<_>, Vec<_>) = seen
            .compilers
            .iter()
            .filter(|c| LLVM_MAJORS.contains(&c.llvm) && !c.has_source)
            .filter_map(|c| Some((c, Step::RustupSource(c.rustup.clone()?))))
            .partition(|(c, _)| at_hand(c));
        steps.extend(here.into_iter().map(|(_, step)| step));
        if usable.is_empty() {
            steps.extend(elsewhere.into_iter().map(|(_, step)| step));
            steps.push(Step::RustupNightly);
        }
    }
    steps
}

fn no_compiler() -> String {
    "no Rust compiler with its library source for the XDP program; fix: rustup toolchain install \
     nightly --component rust-src (Debian, Ubuntu: sudo apt-get install rustc-web cargo-web \
     rust-web-src), or set HA_BPF_CARGO and HA_BPF_RUSTC"
        .to_owned()
}

fn no_linker(compiler: &Compiler) -> String {
    let llvm = compiler.llvm;
    format!(
        "no bpf-linker for LLVM {llvm} ({}), and none can be built without LLVM {llvm}'s development \
         files; fix: sudo apt-get install llvm-{llvm}-dev libzstd-dev (Fedora: sudo dnf install \
         llvm-devel), or set BPF_LINKER",
        compiler.rustc.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(name: &str, llvm: u32, has_source: bool) -> Compiler {
        Compiler {
            cargo: format!("/{name}/cargo").into(),
            rustc: format!("/{name}/rustc").into(),
            release: "1.96.0".to_owned(),
            llvm,
            has_source,
            rustup: ["nightly", "stable"]
                .contains(&name)
                .then(|| name.to_owned()),
        }
    }

    fn linker(name: &str, llvm: Option<u32>) -> Linker {
        Linker {
            path: name.into(),
            version: LINKER_VERSION.to_owned(),
            llvm,
        }
    }

    /// A machine with everything; the cases take away.
    fn full() -> Environment {
        Environment {
            compilers: vec![
                compiler("nightly", 23, true),
                compiler("stable", 22, true),
                compiler("path", 22, true),
            ],
            linkers: vec![linker("23", Some(23)), linker("22", Some(22))],
            ..Environment::default()
        }
    }

    fn built(seen: &Environment) -> (String, String) {
        match choose(seen) {
            Plan::Build(t) => (
                t.compiler.rustc.display().to_string(),
                t.linker.path.display().to_string(),
            ),
            other => panic!("{other:?}"),
        }
    }

    fn refused(seen: &Environment) -> String {
        match choose(seen) {
            Plan::Refuse(why) => {
                assert_eq!(why.lines().count(), 1, "{why}");
                why
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_search_order_is_nightly_stable_path() {
        let mut seen = full();
        assert_eq!(built(&seen), ("/nightly/rustc".into(), "23".into()));
        seen.compilers[0].has_source = false;
        assert_eq!(built(&seen), ("/stable/rustc".into(), "22".into()));
        seen.compilers[1].has_source = false;
        assert_eq!(built(&seen), ("/path/rustc".into(), "22".into()));
    }

    #[test]
    fn a_compiler_whose_linker_is_there_comes_before_one_without() {
        let mut seen = full();
        seen.linkers.remove(0);
        assert_eq!(built(&seen), ("/stable/rustc".into(), "22".into()));
    }

    #[test]
    fn a_linker_that_tells_its_llvm_comes_before_one_that_does_not() {
        let mut seen = full();
        seen.linkers.insert(0, linker("silent", None));
        assert_eq!(built(&seen).1, "23");
        seen.linkers.truncate(1);
        assert_eq!(built(&seen), ("/nightly/rustc".into(), "silent".into()));
    }

    #[test]
    fn explicit_choices_bind() {
        let mut seen = full();
        seen.explicit = Some(compiler("mine", 22, true));
        seen.explicit_linker = Some(linker("my-linker", Some(22)));
        assert_eq!(built(&seen), ("/mine/rustc".into(), "my-linker".into()));
        seen.explicit = Some(compiler("mine", 23, true));
        assert!(refused(&seen).starts_with("BPF_LINKER=my-linker does not link with LLVM 23"));
        seen.explicit = Some(compiler("mine", 23, false));
        assert!(refused(&seen).starts_with("HA_BPF_RUSTC=/mine/rustc: its library source"));
    }

    #[test]
    fn an_explicit_compiler_gets_its_linker_but_no_rival() {
        let mut seen = full();
        seen.explicit = Some(compiler("mine", 22, true));
        seen.linkers.clear();
        seen.apt = true;
        seen.rustup = true;
        assert_eq!(choose(&seen), Plan::Install(Step::AptLlvm(22)));
        seen.tried.push(Step::AptLlvm(22));
        assert!(refused(&seen).starts_with("no bpf-linker for LLVM 22 (/mine/rustc)"));
    }

    #[test]
    fn a_compiler_with_another_llvm_is_passed_over() {
        let mut seen = full();
        seen.compilers[0].llvm = 24;
        seen.linkers.push(linker("24", Some(24)));
        assert_eq!(built(&seen).0, "/stable/rustc");
        seen.compilers[1].llvm = 21;
        seen.compilers[2].llvm = 21;
        assert!(refused(&seen).starts_with("no Rust compiler"));
    }

    #[test]
    fn debian_as_root_installs_step_by_step() {
        let mut seen = Environment {
            compilers: vec![compiler("stable", 22, false)],
            apt: true,
            rustup: true,
            ..Environment::default()
        };
        assert_eq!(choose(&seen), Plan::Install(Step::AptCompiler));
        let web = compiler("usr", 22, true);
        seen.tried.push(Step::AptCompiler);
        seen.compilers.push(web.clone());
        assert_eq!(choose(&seen), Plan::Install(Step::AptLlvm(22)));
        seen.tried.push(Step::AptLlvm(22));
        seen.llvm.push((22, "/llvm".into()));
        assert_eq!(choose(&seen), Plan::Install(Step::Linker(22, web)));
        seen.linkers.push(linker("new", Some(22)));
        assert_eq!(built(&seen), ("/usr/rustc".into(), "new".into()));
    }

    #[test]
    fn a_developer_with_rustup_gets_the_source_of_the_toolchain_whose_llvm_is_there() {
        let mut seen = Environment {
            compilers: vec![
                compiler("nightly", 23, false),
                compiler("stable", 22, false),
            ],
            llvm: vec![(22, "/llvm".into())],
            rustup: true,
            ..Environment::default()
        };
        let stable = Step::RustupSource("stable".into());
        let nightly = Step::RustupSource("nightly".into());
        assert_eq!(choose(&seen), Plan::Install(stable.clone()));
        seen.tried.push(stable);
        assert_eq!(choose(&seen), Plan::Install(nightly.clone()));
        seen.tried.push(nightly);
        assert_eq!(choose(&seen), Plan::Install(Step::RustupNightly));
        seen.tried.push(Step::RustupNightly);
        assert!(refused(&seen).contains("rustup toolchain install nightly --component rust-src"));
    }

    #[test]
    fn a_compiler_without_a_linker_brings_no_second_compiler_that_lacks_one_too() {
        let mut seen = full();
        seen.linkers.clear();
        seen.rustup = true;
        seen.compilers[1].has_source = false;
        assert!(refused(&seen).starts_with("no bpf-linker for LLVM 23 (/nightly/rustc)"));
        seen.llvm.push((22, "/llvm".into()));
        seen.compilers.truncate(2);
        assert_eq!(
            choose(&seen),
            Plan::Install(Step::RustupSource("stable".into()))
        );
    }

    #[test]
    fn a_linker_that_does_not_build_is_not_mended_by_another_compiler() {
        let usr = compiler("usr", 22, true);
        let seen = Environment {
            compilers: vec![compiler("stable", 22, false), usr.clone()],
            llvm: vec![(22, "/llvm".into())],
            apt: true,
            rustup: true,
            tried: vec![Step::Linker(22, usr)],
            ..Environment::default()
        };
        refused(&seen);
    }

    #[test]
    fn without_permission_the_fix_is_named() {
        let mut seen = full();
        seen.compilers.truncate(1);
        seen.linkers.clear();
        assert!(refused(&seen).contains("sudo apt-get install llvm-23-dev libzstd-dev"));
        seen.compilers.clear();
        assert!(refused(&seen).contains("sudo apt-get install rustc-web"));
    }

    #[test]
    fn nothing_is_tried_twice() {
        let mut seen = Environment {
            apt: true,
            rustup: true,
            ..Environment::default()
        };
        for _ in 0..10 {
            match choose(&seen) {
                Plan::Install(step) => {
                    assert!(!seen.tried.contains(&step), "{step:?}");
                    seen.tried.push(step);
                }
                Plan::Refuse(_) => return,
                Plan::Build(t) => panic!("{t:?}"),
            }
        }
        panic!("does not end: {:?}", seen.tried);
    }
}
