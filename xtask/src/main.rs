//! `cargo xtask`: builds, packs, runs, measures and tests the system.
//!
//! One file per command; what several of them need lies in modules of its own. Exit status 0: done,
//! 1: failed, 2: the host lacks something, or the command line makes no sense.
#![forbid(unsafe_code)]

mod artefact;
mod bench;
mod board;
mod build;
mod card;
mod clean;
mod debug;
mod demo;
mod demo_net;
mod disk;
mod explain;
mod flash;
mod graph;
mod guest;
mod host;
mod image;
mod inject;
mod lines;
mod lint;
mod postmortem;
mod qemu;
mod run;
mod size;
mod sysroot;
mod test;
mod toolchain;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use host::Unusable;
use workspace::Workspace;

/// Builds, runs, measures and tests the system. What is missing on this host is installed, saying so.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Demo(demo_net::Demo),
    Test(test::Test),
    Bench(bench::Bench),
    Inject(inject::Inject),
    Lint(lint::Lint),
    Debug(debug::Debug),
    Explain(explain::Explain),
    Size(size::Size),
    Graph(graph::Graph),
    Build(build::Build),
    Image(card::Image),
    Flash(flash::Flash),
    Clean(clean::Clean),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = Workspace::open().and_then(|workspace| match arguments.command {
        Command::Run(command) => command.run(&workspace),
        Command::Demo(command) => command.run(&workspace),
        Command::Test(command) => command.run(&workspace),
        Command::Bench(command) => command.run(&workspace),
        Command::Inject(command) => command.run(&workspace),
        Command::Lint(command) => command.run(&workspace),
        Command::Debug(command) => command.run(&workspace),
        Command::Explain(command) => command.run(&workspace),
        Command::Size(command) => command.run(&workspace),
        Command::Graph(command) => command.run(&workspace),
        Command::Build(command) => command.run(&workspace),
        Command::Image(command) => command.run(&workspace),
        Command::Flash(command) => command.run(&workspace),
        Command::Clean(command) => command.run(&workspace),
    });
    match done {
        Ok(status) => status,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            if error.chain().any(|cause| cause.is::<Unusable>()) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
