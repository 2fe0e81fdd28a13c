//! The host: its programs, its package manager, and what cannot be had from it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// The host lacks something, or was asked for something that cannot be: exit status 2.
///
/// The text names what to do about it.
#[derive(Debug)]
pub struct Unusable(pub String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

/// An [`Unusable`] as an error, for `return`.
pub fn unusable<T>(text: impl Into<String>) -> Result<T> {
    Err(Unusable(text.into()).into())
}

/// Tells the user what happens next, apart from the output of the system under test.
pub fn say(text: &str) {
    eprintln!("xtask: {text}");
}

/// A spinner with a text, for steps that print nothing themselves.
///
/// Where standard error is no terminal it prints nothing, so the text is said once as well.
pub fn spinner(text: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if bar.is_hidden() {
        say(text);
    }
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_message(text.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Where a program lies, if the search path has it.
pub fn find_program(name: &str) -> Option<PathBuf> {
    which::which(name).ok()
}

/// Runs a command with its output on the terminal.
///
/// # Errors
/// If it cannot be started or ends with a status other than 0.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs a command and keeps what it prints.
///
/// # Errors
/// If it cannot be started. Its status is the caller's to judge.
pub fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", shown(command)))
}

/// The first line that a command prints on standard output, `None` if it fails.
pub fn first_line(command: &mut Command) -> Option<String> {
    let output = output(command).ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// A command as a user would type it, without its environment.
pub fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// The newest version of a package that apt could install, `None` without apt or candidate.
pub fn apt_candidate(package: &str) -> Option<String> {
    find_program("apt-get")?;
    let output = output(Command::new("apt-cache").args(["policy", package])).ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let candidate = text.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?.trim();
    (candidate != "(none)").then(|| candidate.to_owned())
}

/// Installs Debian packages, saying so, after bringing apt's lists up to date.
///
/// Installed packages are never removed for it.
///
/// # Errors
/// [`Unusable`] with the command to type, on a system without apt, without the right to use it, or
/// if apt fails (no network, for one).
pub fn apt_install(packages: &[&str], purpose: &str) -> Result<()> {
    let list = packages.join(" ");
    let advice =
        format!("install what {purpose} needs, on Debian with\n    sudo apt-get update && sudo apt-get install {list}");
    let prefix = apt_prefix(&advice)?;
    say(&format!("installing {list} ({purpose})"));
    apt(&prefix, &["update"], &advice)?;
    let mut arguments = vec!["install", "-y", "--no-install-recommends", "--no-remove"];
    arguments.extend(packages);
    apt(&prefix, &arguments, &advice)
}

/// Brings apt's lists up to date.
///
/// # Errors
/// As [`apt_install`].
pub fn apt_update(advice: &str) -> Result<()> {
    apt(&apt_prefix(advice)?, &["update"], advice)
}

/// What must stand before `apt-get`: nothing for root, else sudo that asks for no password.
fn apt_prefix(advice: &str) -> Result<Vec<&'static str>> {
    if find_program("apt-get").is_none() {
        return unusable(format!("this system has no apt: {advice}"));
    }
    if first_line(Command::new("id").arg("-u")).as_deref() == Some("0") {
        return Ok(vec!["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    }
    if find_program("sudo").is_some()
        && first_line(Command::new("sudo").args(["-n", "id", "-u"])).as_deref() == Some("0")
    {
        return Ok(vec!["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    }
    unusable(format!("no right to install packages: {advice}"))
}

fn apt(prefix: &[&str], arguments: &[&str], advice: &str) -> Result<()> {
    let mut command = Command::new(prefix[0]);
    command.args(&prefix[1..]).args(["-q", "-o", "Acquire::Retries=1"]).args(arguments);
    let bar = spinner(&format!("apt-get {}", arguments[0]));
    let output = output(&mut command)?;
    bar.finish_and_clear();
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return unusable(format!("{} failed:\n{}\n{advice}", shown(&command), text.trim()));
    }
    Ok(())
}

/// Removes a directory with everything in it; it may be absent.
///
/// # Errors
/// If something in it cannot be removed.
pub fn remove_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
