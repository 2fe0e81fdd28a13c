//! Every outcome that was neither masked nor transparent, with the command that repeats it.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::bars::number;
use super::label;
use crate::inject::model::{Outcome, Recovery};
use crate::inject::results::{Hex, Record, Results};

/// Rows that stand open: more are folded away until asked for.
const OPEN: usize = 100;

/// Whether an experiment is listed.
fn is_listed(record: &Record) -> bool {
    !matches!(record.outcome, Outcome::Masked | Outcome::Transparent | Outcome::NotInjected)
}

/// The tables, folded, by way to recover and service; the worst outcomes first.
pub fn tables(results: &Results, primary: Recovery) -> Markup {
    let mut groups: Vec<(Recovery, &str, Vec<&Record>)> = Vec::new();
    let others = results.configuration.recovery.iter().copied().filter(|way| *way != primary);
    for recovery in std::iter::once(primary).chain(others) {
        for service in &results.configuration.services {
            let own = results.records.iter().filter(|record| record.recovery == recovery && record.service == *service);
            let mut own: Vec<&Record> = own.filter(|record| is_listed(record)).collect();
            own.sort_by_key(|record| (std::cmp::Reverse(record.outcome), record.number));
            if !own.is_empty() {
                groups.push((recovery, service, own));
            }
        }
    }
    let total: usize = groups.iter().map(|(_, _, records)| records.len()).sum();
    if total == 0 {
        return html! { p { "There are none." } };
    }
    html! {
        div #search hidden {
            input #words type="search" placeholder="Search: words, all of which must occur" aria-label="Search";
            @for outcome in Outcome::ALL[3..].iter().rev() {
                label { input type="checkbox" value=(outcome.name()) checked; span.chip.(outcome.name()) {} (label(*outcome)) }
            }
            output #found {}
        }
        @for (recovery, service, records) in &groups {
            details.misses open[total <= OPEN] {
                summary { (recovery.name()) ", " (service) ": " (counted(records)) }
                div.wide {
                    table {
                        thead { tr {
                            th { "outcome" } th { "what" } th { "where" } th { "for" } th { "what came of it" } th { "again" }
                        } }
                        tbody { @for record in records { (row(record)) } }
                    }
                }
            }
        }
    }
}

/// How many of which outcome.
fn counted(records: &[&Record]) -> String {
    let mut counts: BTreeMap<Outcome, u64> = BTreeMap::new();
    records.iter().for_each(|record| *counts.entry(record.outcome).or_default() += 1);
    let told: Vec<String> =
        counts.iter().rev().map(|(outcome, count)| format!("{} {}", number(*count), label(*outcome))).collect();
    told.join(", ")
}

fn change(before: Option<Hex>, after: Option<Hex>) -> String {
    match (before, after) {
        (Some(before), Some(after)) => format!("{before} → {after}"),
        _ => String::new(),
    }
}

fn row(record: &Record) -> Markup {
    let place = &record.r#where;
    let detected: Vec<String> = record.detected.iter().map(ToString::to_string).collect();
    html! {
        tr.(record.outcome.name()) {
            td { span.chip.(record.outcome.name()) {} (label(record.outcome)) }
            td {
                (record.fault) ": " (place.what)
                br; code { (change(record.before, record.after)) }
                @if let Some(second) = &record.second {
                    br; (format!("{} instructions after the failure: {}", second.after_failure, second.what))
                    br; code { (change(second.before, second.after)) }
                }
            }
            td {
                (place.function)
                @if !place.file.is_empty() {
                    br; code { (place.file) @if place.line > 0 { ":" (place.line) } }
                }
                br; span.note { "instruction " (number(record.when.instruction)) " of " (number(record.when.of)) ", at " (record.when.pc) }
            }
            td {
                @if let Some(client) = record.client { "client " (client) } @else { "nobody" }
                @if let Some(method) = &record.method { br; (method) }
            }
            td {
                (record.explanation)
                @if let Some(reach) = &record.reach {
                    @let clients: Vec<String> = reach.clients.iter().map(u32::to_string).collect();
                    br; "reach: " (if clients.len() == 1 { "client " } else { "clients " }) (clients.join(", ")) "; wrong results: " (reach.results)
                    @if reach.lines > 0 { "; lines on the console: " (reach.lines) }
                }
                @if let Some(first) = detected.first() {
                    br; span.note title=(detected.join("\n")) {
                        "detected: " (first) @if detected.len() > 1 { "; " (detected.len() - 1) " more" }
                    }
                }
            }
            td { code.again { "cargo xtask inject replay " (record.id) } }
        }
    }
}

/// Where the misses come from: how many of which outcome in which function, the most first.
pub fn places(results: &Results, recovery: Recovery) -> Markup {
    let mut places: BTreeMap<(&str, Outcome, &str), u64> = BTreeMap::new();
    for record in results.records.iter().filter(|record| record.recovery == recovery && is_listed(record)) {
        *places.entry((&record.service, record.outcome, &record.r#where.function)).or_default() += 1;
    }
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by_key(|((_, outcome, _), count)| (std::cmp::Reverse(*count), std::cmp::Reverse(*outcome)));
    html! {
        @if !places.is_empty() {
            details {
                summary { "By function, recovery " (recovery.name()) ": " (number(places.len() as u64)) " of them" }
                div.wide {
                    table {
                        thead { tr { th { "how many" } th { "service" } th { "outcome" } th { "function in which the fault was injected" } } }
                        tbody {
                            @for ((service, outcome, function), count) in places {
                                tr { td { (number(count)) } td { (service) } td { span.chip.(outcome.name()) {} (label(outcome)) } td { (function) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Why faults could not be injected, and how often.
pub fn not_injected(results: &Results) -> Markup {
    let mut reasons: BTreeMap<(Recovery, &str, &str, &str), u64> = BTreeMap::new();
    for record in results.records.iter().filter(|record| record.outcome == Outcome::NotInjected) {
        *reasons.entry((record.recovery, &record.service, &record.fault, &record.explanation)).or_default() += 1;
    }
    html! {
        @if reasons.is_empty() {
            p { "Every fault of the plan was injected." }
        } @else {
            details {
                summary { (number(reasons.values().sum())) " faults could not be injected; they count as nothing else" }
                div.wide {
                    table {
                        thead { tr { th { "how many" } th { "recovery" } th { "service" } th { "fault model" } th { "why" } } }
                        tbody {
                            @for ((recovery, service, fault, why), count) in reasons {
                                tr { td { (number(count)) } td { (recovery.name()) } td { (service) } td { (fault) } td { (why) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
