//! A compiler for the board: the toolchain's own target, else rustup's, else the distribution's.
//!
//! The last way needs a rustc that comes with the sources of its library: `core` and `alloc` are
//! built from them once ([`crate::sysroot`]), and everything else is compiled against that as on
//! any stable compiler.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use semver::Version;

use crate::host::{self, Unusable};
use crate::sysroot;
use crate::workspace::{TARGET, Workspace};

/// The oldest rustc that compiles the workspace.
const OLDEST: Version = Version::new(1, 89, 0);

/// Debian's packages of one rustc.
struct Family {
    rustc: &'static str,
    /// Packages for building: compiler, cargo, sources of the library.
    build: [&'static str; 3],
    /// Packages for linting: clippy, rustfmt.
    lint: [&'static str; 2],
}

/// In order of preference: the compiler that Debian keeps new for browsers, and the ordinary one.
const FAMILIES: [Family; 2] = [
    Family {
        rustc: "rustc-web",
        build: ["rustc-web", "cargo-web", "rust-web-src"],
        lint: ["rust-web-clippy", "rustfmt-web"],
    },
    Family { rustc: "rustc", build: ["rustc", "cargo", "rust-src"], lint: ["rust-clippy", "rustfmt"] },
];

/// A cargo and a rustc that can build for the board.
pub struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    /// A sysroot made by [`crate::sysroot`], where the compiler's own has not got the target.
    sysroot: Option<PathBuf>,
}

/// One compiler found on the host.
pub struct Compiler {
    /// The cargo that belongs to it.
    pub cargo: PathBuf,
    /// The compiler.
    pub rustc: PathBuf,
}

impl Compiler {
    /// What `rustc -vV` says, which names the exact build.
    pub fn identity(&self) -> Option<String> {
        let output = host::output(Command::new(&self.rustc).arg("-vV")).ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether it exists, runs, and is new enough.
    fn usable(&self) -> bool {
        let Some(identity) = self.identity() else { return false };
        let release = identity.lines().find_map(|line| line.strip_prefix("release: "));
        release.and_then(|text| Version::parse(text).ok()).is_some_and(|version| version >= OLDEST)
    }

    /// Whether its own sysroot holds a `core` for the board.
    fn has_target(&self) -> bool {
        let libraries =
            host::first_line(Command::new(&self.rustc).args(["--print", "target-libdir", "--target", TARGET]));
        libraries.is_some_and(|path| sysroot::holds_core(Path::new(&path)))
    }

    /// Whether the sources of its library are there.
    fn has_sources(&self) -> bool {
        let root = host::first_line(Command::new(&self.rustc).args(["--print", "sysroot"]));
        root.is_some_and(|root| Path::new(&root).join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file())
    }
}

impl Toolchain {
    /// Finds a toolchain for the board; what is missing is installed, saying so.
    ///
    /// # Errors
    /// [`Unusable`] with the commands that would help, if there is none and none can be installed.
    pub fn find(workspace: &Workspace) -> Result<Toolchain> {
        let candidates = compilers();
        if let Some(compiler) = candidates.iter().find(|compiler| compiler.has_target()) {
            return Ok(Toolchain::complete(compiler));
        }
        // A sysroot that an earlier run built: no need to ask rustup again.
        for compiler in distribution_first(&candidates) {
            if let Some(sysroot) = sysroot::existing(workspace, compiler) {
                return Ok(Toolchain::with_sysroot(compiler, sysroot));
            }
        }
        if rustup_adds_target()
            && let Some(compiler) = candidates.iter().find(|compiler| compiler.has_target())
        {
            return Ok(Toolchain::complete(compiler));
        }
        if let Some(compiler) = distribution_first(&candidates).find(|compiler| compiler.has_sources()) {
            return Ok(Toolchain::with_sysroot(compiler, sysroot::build(workspace, compiler)?));
        }
        install_distribution_compiler()?;
        match distribution_first(&compilers()).find(|compiler| compiler.has_sources()) {
            Some(compiler) => Ok(Toolchain::with_sysroot(compiler, sysroot::build(workspace, compiler)?)),
            None => host::unusable(format!(
                "the packages just installed bring no rustc of at least {OLDEST} with its sources"
            )),
        }
    }

    /// The exact compiler, in a line.
    pub fn identity(&self) -> String {
        host::first_line(Command::new(&self.rustc).arg("-V")).unwrap_or_default()
    }

    fn complete(compiler: &Compiler) -> Toolchain {
        Toolchain { cargo: compiler.cargo.clone(), rustc: compiler.rustc.clone(), sysroot: None }
    }

    fn with_sysroot(compiler: &Compiler, sysroot: PathBuf) -> Toolchain {
        Toolchain { sysroot: Some(sysroot), ..Toolchain::complete(compiler) }
    }

    /// A cargo command for the board, in the workspace.
    pub fn cargo(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let mut command = clean_cargo(&self.cargo, &self.rustc);
        command.current_dir(&workspace.root);
        command.args([subcommand, "--target", TARGET, "--target-dir"]).arg(workspace.guest_target());
        // This variable wins over all other ways to give flags, and may hold paths with spaces.
        let mut flags: Vec<String> = Vec::new();
        if let Some(sysroot) = &self.sysroot {
            flags.extend(["--sysroot".into(), sysroot.to_string_lossy().into_owned()]);
        }
        // Both the Cortex-A8 and the A15 must run it: the target's own CPU (ARMv7-A without
        // hardware division) is the right one, and frame pointers would only cost a register.
        flags.extend(["-C".into(), "force-frame-pointers=no".into()]);
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        command
    }

    /// The cargo that started this tool: the one for the host.
    pub fn own_cargo() -> PathBuf {
        std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
    }

    /// A cargo command for the host, in the workspace.
    ///
    /// The host's own toolchain if that can lint, else the board's.
    pub fn host_cargo(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let own = Self::own_cargo();
        let mut command =
            if lints(&mut Command::new(&own)) { Command::new(own) } else { clean_cargo(&self.cargo, &self.rustc) };
        command.current_dir(&workspace.root).arg(subcommand);
        command
    }

    /// Sees to it that `cargo clippy` and `cargo fmt` work for the board.
    ///
    /// # Errors
    /// [`Unusable`] if they do not, and cannot be installed.
    pub fn need_lints(&self) -> Result<()> {
        let works = || lints(&mut clean_cargo(&self.cargo, &self.rustc));
        if works() {
            return Ok(());
        }
        if !self.rustc.starts_with("/usr/bin") {
            return host::unusable("clippy or rustfmt is missing: rustup component add clippy rustfmt");
        }
        let family = FAMILIES.iter().find(|family| installed(family.rustc)).unwrap_or(&FAMILIES[0]);
        host::apt_install(&family.lint, "linting")?;
        if works() { Ok(()) } else { host::unusable("clippy was installed but does not run: cargo clippy --version") }
    }
}

/// Whether a cargo has clippy and rustfmt.
fn lints(cargo: &mut Command) -> bool {
    let mut again = Command::new(cargo.get_program());
    for (name, value) in cargo.get_envs() {
        match value {
            Some(value) => again.env(name, value),
            None => again.env_remove(name),
        };
    }
    let runs = |command: &mut Command| host::output(command).is_ok_and(|output| output.status.success());
    runs(cargo.args(["clippy", "--version"])) && runs(again.args(["fmt", "--version"]))
}

/// A command for a cargo with its rustc, free of what the environment says about another one.
pub fn clean_cargo(cargo: &Path, rustc: &Path) -> Command {
    let mut command = Command::new(cargo);
    for name in
        ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_BOOTSTRAP", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO"]
    {
        command.env_remove(name);
    }
    // A cargo outside rustup must not meet rustup's proxies when it looks for `rustdoc` or `clippy-driver`.
    if let (false, Some(directory)) = (is_rustup_proxy(cargo), cargo.parent()) {
        let mut path = vec![directory.to_owned()];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        if let Ok(path) = std::env::join_paths(path) {
            command.env("PATH", path);
        }
    }
    command.env("RUSTC", rustc);
    command
}

fn is_rustup_proxy(program: &Path) -> bool {
    program.canonicalize().is_ok_and(|path| path.file_name().is_some_and(|name| name == "rustup"))
}

/// The compilers of this host that can be used at all: that of the search path, and the distribution's.
fn compilers() -> Vec<Compiler> {
    let mut found: Vec<Compiler> = Vec::new();
    if let (Some(cargo), Some(rustc)) = (host::find_program("cargo"), host::find_program("rustc")) {
        found.push(Compiler { cargo, rustc });
    }
    let distribution = Compiler { cargo: "/usr/bin/cargo".into(), rustc: "/usr/bin/rustc".into() };
    if found.iter().all(|compiler| compiler.rustc != distribution.rustc) {
        found.push(distribution);
    }
    found.retain(|compiler| compiler.cargo.is_file() && compiler.usable());
    found
}

/// The distribution's compiler is the one whose sources are complete without a network.
fn distribution_first(compilers: &[Compiler]) -> impl Iterator<Item = &Compiler> {
    let of_distribution = |compiler: &&Compiler| compiler.rustc.starts_with("/usr/bin");
    compilers.iter().filter(of_distribution).chain(compilers.iter().filter(move |compiler| !of_distribution(compiler)))
}

/// Asks rustup for the target; `false` if there is no rustup, or it may not or cannot.
fn rustup_adds_target() -> bool {
    if host::find_program("rustup").is_none() {
        return false;
    }
    // The user's word that rustup shall install nothing by itself.
    if std::env::var("RUSTUP_AUTO_INSTALL").is_ok_and(|value| value == "0") {
        host::say(&format!(
            "rustup may not install the target here (RUSTUP_AUTO_INSTALL=0); by hand: rustup target add {TARGET}"
        ));
        return false;
    }
    let bar = host::spinner(&format!("rustup target add {TARGET}"));
    let output = host::output(Command::new("rustup").args(["target", "add", TARGET]));
    bar.finish_and_clear();
    let added = output.is_ok_and(|output| output.status.success());
    host::say(&if added {
        format!("rustup added {TARGET}")
    } else {
        format!("rustup has no {TARGET} for this toolchain; trying the distribution's compiler")
    });
    added
}

/// Installs the first of Debian's compilers that is new enough.
fn install_distribution_compiler() -> Result<()> {
    let advice = format!(
        "no compiler for {TARGET}: with rustup\n    rustup target add {TARGET}\nor on Debian\n    sudo apt-get update && sudo apt-get install {}",
        FAMILIES[0].build.join(" ")
    );
    host::apt_update(&advice)?;
    let family = FAMILIES.iter().find(|family| {
        host::apt_candidate(family.rustc)
            .and_then(|text| debian_version(&text))
            .is_some_and(|version| version >= OLDEST)
    });
    match family {
        Some(family) => host::apt_install(&family.build, "building for the board"),
        None => Err(Unusable(format!("apt offers no rustc of at least {OLDEST}; {advice}")).into()),
    }
}

/// The upstream part of a Debian version such as `1.96.0+dfsg1-1~deb12u2`.
fn debian_version(text: &str) -> Option<Version> {
    let text = text.split_once(':').map_or(text, |(_, rest)| rest);
    let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    Version::parse(&text[..end]).ok()
}

fn installed(package: &str) -> bool {
    let query = host::first_line(Command::new("dpkg-query").args(["-W", "-f=${Status}", package]));
    query.is_some_and(|status| status.ends_with("installed") && !status.contains("not-installed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_debian_packages() {
        assert_eq!(debian_version("1.96.0+dfsg1-1~deb12u2"), Some(Version::new(1, 96, 0)));
        assert_eq!(debian_version("1:1.63.0-2"), Some(Version::new(1, 63, 0)));
        assert_eq!(debian_version("(none)"), None);
    }
}
