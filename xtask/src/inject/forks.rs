//! The fast engine: the emulator forks itself at each point. Its other half is the plugin.

use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use experiment::{End, Injection, Job, Observation, Planned};

use super::machine::Machine;

/// Carries out a job; `done` gets each experiment as it comes to its end, and may break off.
///
/// # Errors
/// If the emulator or the plugin fails, or `done` does.
pub fn run(
    machine: &Machine,
    plugin: &Path,
    job: &Job,
    done: &mut dyn FnMut(&Planned, Observation) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let folder = machine.folder.path();
    let file = folder.join("job");
    std::fs::write(&file, postcard::to_stdvec(job)?).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = machine.command(false);
    command.args(machine.plugin(plugin, "fork", &[("out", folder), ("job", &file)]));
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start the emulator")?;
    let lines = BufReader::new(child.stdout.take().context("the emulator has no output")?).lines();
    let mut seen = 0;
    for line in lines {
        let line = line.context("cannot read the emulator's output")?;
        let Some((what, number)) = line.split_once(' ') else { continue };
        let Some(plan) = number.parse::<usize>().ok().and_then(|number| job.experiments.get(number)) else { continue };
        let observation = match what {
            "done" => {
                let path = folder.join(format!("{number}.observation"));
                let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
                postcard::from_bytes(&bytes).context("an observation is damaged")?
            }
            "broken" => nothing("the emulator did not survive the experiment"),
            "unreached" => nothing("the point was not reached"),
            _ => continue,
        };
        seen += 1;
        if done(plan, observation)?.is_break() {
            // The whole group: experiments that still run are its children.
            let group = format!("-{}", child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            child.kill().context("cannot stop the emulator")?;
            child.wait().context("cannot wait for the emulator")?;
            return Ok(());
        }
    }
    let status = child.wait().context("cannot wait for the emulator")?;
    if !status.success() || seen != job.experiments.len() {
        bail!("the emulator ended after {seen} of {} experiments ({status})", job.experiments.len());
    }
    Ok(())
}

fn nothing(why: &str) -> Observation {
    Observation {
        first: Injection::Failed(why.to_owned()),
        second: None,
        end: End::Broken,
        ticks: 0,
        console: Vec::new(),
        memory: Vec::new(),
    }
}
