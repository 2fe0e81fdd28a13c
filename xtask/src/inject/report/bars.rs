//! Stacked bars: how the injected faults of a group divide into outcomes.

use maud::{Markup, html};

use super::text::{Row, apportion, cells, columns, interval, percent, rows};
use super::{label, model};
use crate::inject::model::{Outcome, Recovery};
use crate::inject::results::Results;
use crate::inject::results::summary::{Counts, Group, total};

/// Units of a bar's length; whatever is not 0 gets the least of them, so that it can be seen.
const LENGTH: usize = 1000;
const LEAST: usize = 8;

/// A count with thin spaces between thousands.
pub fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + 4);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// The colours and what they mean.
pub fn legend() -> Markup {
    html! {
        ul.legend {
            @for outcome in &Outcome::ALL[1..] {
                li { span.chip.(outcome.name()) {} (label(*outcome)) }
            }
        }
    }
}

/// One bar. Its parts tell their numbers when pointed at.
pub fn bar(counts: &Counts) -> Markup {
    let shown = &Outcome::ALL[1..];
    let numbers: Vec<u64> = shown.iter().map(|outcome| counts.get(*outcome)).collect();
    let parts = apportion(&numbers, LENGTH, LEAST);
    let told = |outcome: Outcome| {
        let share = counts.get(outcome) as f64 / counts.injected().max(1) as f64;
        format!("{}: {} ({} %)", label(outcome), number(counts.get(outcome)), percent(share))
    };
    let all: Vec<String> =
        shown.iter().filter(|outcome| counts.get(**outcome) > 0).map(|outcome| told(*outcome)).collect();
    let places = parts.iter().scan(0, |end, length| {
        let from = *end;
        *end += length;
        Some((from, *length))
    });
    html! {
        svg.bar viewBox=(format!("0 0 {LENGTH} 14")) preserveAspectRatio="none" role="img" aria-label=(all.join(", ")) {
            @for (outcome, (from, length)) in shown.iter().zip(places).filter(|(_, (_, length))| *length > 0) {
                rect.(outcome.name()) x=(from) width=(length) height="14" { title { (told(*outcome)) } }
            }
        }
    }
}

/// The table of all numbers: a row for each service. Ways to recover other than the primary one are folded away.
pub fn headline(results: &Results, groups: &[Group], primary: Recovery) -> Markup {
    let rows = rows(results, groups);
    let others = results.configuration.recovery.iter().copied().filter(|way| *way != primary);
    html! {
        @for recovery in std::iter::once(primary).chain(others) {
            @let own: Vec<&Row> = rows.iter().filter(|row| row.recovery == recovery).collect();
            @let title = html! { "Recovery: " (recovery.name()) " " span.note { (describe(recovery)) } };
            @if !own.is_empty() && recovery == primary {
                h3 { (title) }
                (numbers(&own))
            } @else if !own.is_empty() {
                details { summary { (title) } (numbers(&own)) }
            }
        }
    }
}

fn numbers(rows: &[&Row]) -> Markup {
    html! {
        div.wide {
            table.numbers {
                thead { tr {
                    th { "service" }
                    @for name in columns() { th { (name) } }
                    th { "transparent of detected" br; span.note { "with 95 % interval" } }
                } }
                tbody {
                    @for row in rows {
                        tr.sum[row.service.is_none()] {
                            th { (row.service.as_deref().unwrap_or("together")) }
                            @for count in cells(&row.counts) { td.zero[count == 0] { (number(count)) } }
                            td { (interval(row.counts.recovered_of_detected())) }
                        }
                    }
                }
            }
        }
    }
}

/// What a way to recover does.
pub fn describe(recovery: Recovery) -> &'static str {
    match recovery {
        Recovery::None => "a service that fails is given up",
        Recovery::Blind => "restarted; all state of its clients is gone",
        Recovery::Kept => "restarted; state kept, always writable, nothing rolled back",
        Recovery::Ssr => "restarted; one client's region at a time, nothing rolled back",
        Recovery::Rollback => "restarted; one client's region at a time, the request undone and tried again",
    }
}

/// The ways to recover beside each other, service by service.
pub fn comparison(results: &Results, groups: &[Group]) -> Markup {
    let rows = rows(results, groups);
    let mut services: Vec<Option<&str>> = Vec::new();
    for row in &rows {
        if !services.contains(&row.service.as_deref()) {
            services.push(row.service.as_deref());
        }
    }
    html! {
        div.wide {
            table.bars {
                thead { tr {
                    th.left { "service" } th.left { "recovery" } th.long { "of all injected" }
                    th { "transparent of manifested" } th { "transparent of detected" } th { "silent of injected" }
                    th { "collateral" } th { "hang" } th { "kernel dead" }
                } }
                @for service in services {
                    tbody {
                        @for (index, row) in rows.iter().filter(|row| row.service.as_deref() == service).enumerate() {
                            tr {
                                th { @if index == 0 { (service.unwrap_or("together")) } }
                                th.way { (row.recovery.name()) }
                                td { (bar(&row.counts)) }
                                td { (interval(row.counts.recovered_of_manifested())) }
                                td { (interval(row.counts.recovered_of_detected())) }
                                td { (interval(row.counts.silent_of_injected())) }
                                @for outcome in [Outcome::Collateral, Outcome::Hang, Outcome::KernelDead] {
                                    @let count = row.counts.get(outcome);
                                    td.zero[count == 0] { (number(count)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A bar for each fault model, by service.
pub fn by_fault(groups: &[Group], recovery: Recovery, services: &[String]) -> Markup {
    html! {
        @for service in services {
            @let own: Vec<&Group> =
                groups.iter().filter(|group| group.recovery == recovery && group.service == *service).collect();
            @if !own.is_empty() {
                h4 { (service) }
                div.wide {
                    table.bars {
                        thead { tr {
                            th { "fault model" } th.long { "of all injected" } th { "injected" } th { "manifested" }
                            th { "transparent of manifested" } th { "transparent of detected" } th { "silent" }
                        } }
                        tbody {
                            @for group in &own {
                                (fault_row(&group.fault, &group.counts, false))
                            }
                            @if own.len() > 1 {
                                (fault_row("together", &total(own.iter().copied()), true))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn fault_row(fault: &str, counts: &Counts, sum: bool) -> Markup {
    let silent = counts.get(Outcome::SilentCorruption);
    html! {
        tr.sum[sum] {
            th title=[model(fault).map(|model| model.description())] { (fault) }
            td { (bar(counts)) }
            td { (number(counts.injected())) }
            td { (number(counts.manifested())) }
            td { (interval(counts.recovered_of_manifested())) }
            td { (interval(counts.recovered_of_detected())) }
            td.zero[silent == 0] { (number(silent)) }
        }
    }
}
