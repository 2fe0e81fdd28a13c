//! The page: what stands on it, and in which order.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::bars::{self, number};
use super::text::{by_family, interval};
use super::{APART, misses, model, plots};
use crate::inject::judge::LATEST;
use crate::inject::model::{Outcome, Recovery};
use crate::inject::results::Results;
use crate::inject::results::summary::{Group, groups};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("search.js");

/// All of it.
pub fn page(results: &Results) -> Markup {
    let configuration = &results.configuration;
    let groups = groups(configuration, &results.records);
    let ways = &configuration.recovery;
    let primary = if ways.contains(&Recovery::Rollback) { Some(Recovery::Rollback) } else { ways.first().copied() };
    let primary = primary.unwrap_or(Recovery::Rollback);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Fault injection, " (number(results.records.len() as u64)) " experiments" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Fault injection: " (number(results.records.len() as u64)) " experiments" }
                p.note {
                    "commit " code { (configuration.commit) } @if configuration.dirty { " with changes" }
                    ", " (emulator(&configuration.qemu)) ", seed " (configuration.seed)
                }
                @if results.missing() > 0 || results.shard.of > 1 {
                    p.warning {
                        "This is not the whole campaign: "
                        @if results.shard.of > 1 { "shard " (results.shard) "; " }
                        (number(results.missing())) " experiments are missing here."
                    }
                }
                nav {
                    a href="#results" { "Results" } " "
                    @if ways.len() > 1 { a href="#comparison" { "Ways to recover" } " " }
                    a href="#faults" { "Fault models" } " "
                    a href="#time" { "Recovery time" } " "
                    a href="#misses" { "Misses" } " "
                    a href="#configuration" { "Configuration" }
                }
                section #results {
                    h2 { "Results" }
                    (definitions())
                    (bars::headline(results, &groups, primary))
                    h3 { "Transparent of detected errors, with 95 % intervals" }
                    p.note { "Each step of the scale is a tenth of the failures of the one before. Where everything was transparent the interval ends at 100 %." }
                    figure { (plots::intervals(results, &groups)) }
                }
                @if ways.len() > 1 {
                    section #comparison {
                        h2 { "Ways to recover, side by side" }
                        (bars::legend())
                        (bars::comparison(results, &groups))
                    }
                }
                section #faults {
                    h2 { "Fault models" }
                    (bars::legend())
                    p.note { "What occurred at all has a visible width, however rare it was; the numbers appear when pointed at." }
                    (families(&groups, primary))
                    h3 { "Recovery: " (primary.name()) }
                    (bars::by_fault(&groups, primary, &configuration.services))
                    @for way in ways.iter().filter(|way| **way != primary) {
                        details {
                            summary { "Recovery: " (way.name()) }
                            (bars::by_fault(&groups, *way, &configuration.services))
                        }
                    }
                }
                section #time {
                    h2 { "Recovery time" }
                    p {
                        "By how much the step of a client that suffered most took longer than in the run without a fault: detection, recovery, "
                        "and the call that is tried again, as the client sees it. Transparent recoveries only."
                    }
                    (plots::recovery_time(results, primary))
                }
                section #misses {
                    h2 { "Misses" }
                    p { "Every outcome that was neither masked nor transparent. The command repeats the experiment, to the instruction." }
                    (misses::tables(results, primary))
                    (misses::places(results, primary))
                    h3 { "Not injected" }
                    (misses::not_injected(results))
                }
                section #configuration {
                    h2 { "Configuration" }
                    (configuration_table(results))
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// The emulator as it names itself, or its version with its name before it.
fn emulator(version: &str) -> String {
    if version.starts_with("QEMU") { version.to_owned() } else { format!("QEMU {version}") }
}

/// What the words mean.
fn definitions() -> Markup {
    let meanings = [
        (Outcome::Masked, "no effect: nothing detected, all results those of the run without a fault"),
        (Outcome::Transparent, "detected and recovered, all results those of the run without a fault"),
        (Outcome::RequestFailed, "the one call that was being served got a clear error"),
        (Outcome::SessionLost, "the state of the one client that was being served is gone, and it was told"),
        (Outcome::SilentCorruption, "wrong results without an error"),
        (
            Outcome::Collateral,
            "an error to another client, damage to it, or a failure of an object outside the request",
        ),
        (Outcome::Hang, "a client did not come to its end"),
        (Outcome::KernelDead, "the kernel panicked, or the system ended"),
    ];
    html! {
        dl.legend {
            @for (outcome, meaning) in meanings {
                div { dt { span.chip.(outcome.name()) {} (super::label(outcome)) } dd { (meaning) } }
            }
        }
        p.note {
            "Of several that hold, the last counts. Manifested: all but masked. Detected: manifested without silent corruption. Results "
            "are compared client by client, time stamps aside; an alarm may be " (LATEST / 1000) " ms late. Together: without what is reported "
            "apart (" (APART.join(", ")) ")."
        }
    }
}

/// Families of fault models, over the services that are not reported apart.
fn families(groups: &[Group], primary: Recovery) -> Markup {
    let together = groups.iter().filter(|group| group.recovery == primary && !APART.contains(&group.service.as_str()));
    let families = by_family(together);
    html! {
        @if !families.is_empty() {
            h3 { "All services together, by family, recovery " (primary.name()) }
            div.wide {
                table.bars {
                    thead { tr {
                        th { "faults" } th.long { "of all injected" } th { "manifested" } th { "transparent of manifested" }
                        th { "transparent of detected" } th { "silent of injected" }
                    } }
                    tbody {
                        @for (family, counts) in &families {
                            tr {
                                th { (family) }
                                td { (bars::bar(counts)) }
                                td { (number(counts.manifested())) }
                                td { (interval(counts.recovered_of_manifested())) }
                                td { (interval(counts.recovered_of_detected())) }
                                td { (interval(counts.silent_of_injected())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn configuration_table(results: &Results) -> Markup {
    let configuration = &results.configuration;
    let ways: Vec<&str> = configuration.recovery.iter().map(|way| way.name()).collect();
    let dirty =
        if configuration.dirty { " with changes that are in no commit: it cannot be repeated elsewhere" } else { "" };
    let lines = [
        ("commit", format!("{}{dirty}", configuration.commit)),
        ("compiler", configuration.compiler.clone()),
        ("emulator", emulator(&configuration.qemu)),
        ("engine", format!("{} (the results do not depend on it)", configuration.engine)),
        ("seed", configuration.seed.to_string()),
        ("experiments for each service and way to recover", number(configuration.count)),
        ("experiments in the plan", number(configuration.experiments)),
        ("services", configuration.services.join(", ")),
        ("ways to recover", ways.join(", ")),
    ];
    html! {
        div.wide { table.plain { tbody {
            @for (name, value) in lines { tr { th { (name) } td { (value) } } }
        } } }
        h3 { "Runs without a fault" }
        p.note { "Faults are injected before instructions that are chosen uniformly among those that the target executes in this run." }
        div.wide { table.numbers {
            thead { tr {
                th.left { "service" } th.left { "recovery" } th { "clients" } th { "results" } th { "instructions" } th { "of the target" } th { "image (SHA-256)" }
            } }
            tbody {
                @for golden in &configuration.golden {
                    tr {
                        th { (golden.service) } th { (golden.recovery.name()) } td { (golden.clients) } td { (golden.results) }
                        td { (number(golden.instructions)) } td { (number(golden.target)) } td { code { (golden.image) } }
                    }
                }
            }
        } }
        h3 { "Fault models" }
        div.wide { table.plain { tbody {
            @for fault in &configuration.faults {
                tr { th { (fault) } td { (model(fault).map_or("", |model| model.description())) } }
            }
        } } }
    }
}
