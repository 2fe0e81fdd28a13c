//! Diagrams: intervals on a scale of nines, and how long recoveries took.

use maud::{Markup, html};

use super::bars::number;
use super::text::{interval, rows};
use crate::inject::model::{Outcome, Recovery};
use crate::inject::results::summary::Group;
use crate::inject::results::{Record, Results};
use crate::inject::statistics::quantile;

/// Sizes in the diagrams' own units.
const WIDTH: f64 = 900.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 240.0;
const ROW: f64 = 17.0;
/// Decades of the scale of nines: up to 99.999 %.
const NINES: f64 = 5.0;
/// Points of a distribution's line.
const POINTS: usize = 200;
/// Bins of the histogram in a decade.
const BINS: usize = 8;

fn at(value: f64) -> String {
    format!("{value:.1}")
}

/// Where a share stands on the scale of nines, from 0 to 1: each step is a tenth of the failures of the step before.
fn nines(share: f64) -> f64 {
    (-(1.0 - share).max(f64::MIN_POSITIVE).log10() / NINES).clamp(0.0, 1.0)
}

/// Shares of detected errors that were transparent, each with its interval, by service and way to recover.
pub fn intervals(results: &Results, groups: &[Group]) -> Markup {
    let mut rows = rows(results, groups);
    rows.retain(|row| row.counts.detected() > 0);
    let order = |service: &Option<String>| {
        service.as_ref().map_or(usize::MAX, |service| {
            results.configuration.services.iter().position(|other| other == service).unwrap_or(usize::MAX)
        })
    };
    rows.sort_by_key(|row| order(&row.service));
    let several = results.configuration.recovery.len() > 1;
    let x = |share: f64| LEFT + nines(share) * (WIDTH - LEFT - RIGHT);
    let height = ROW * rows.len() as f64 + 34.0;
    let bottom = height - 26.0;
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label="intervals; the numbers stand beside them" {
            @for (share, text) in [(0.0, "0 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")] {
                line.grid x1=(at(x(share))) x2=(at(x(share))) y1="4" y2=(at(bottom)) {}
                text.middle x=(at(x(share))) y=(at(bottom + 16.0)) { (text) }
            }
            line.grid x1=(at(x(1.0))) x2=(at(x(1.0))) y1="4" y2=(at(bottom)) {}
            text.middle x=(at(x(1.0))) y=(at(bottom + 16.0)) { "100 %" }
            @for (index, row) in rows.iter().enumerate() {
                @let y = ROW * index as f64 + 14.0;
                @let service = row.service.as_deref().unwrap_or("together");
                @if index > 0 && rows[index - 1].service != row.service && several {
                    line.grid x1="0" x2=(WIDTH) y1=(at(y - ROW / 2.0)) y2=(at(y - ROW / 2.0)) {}
                }
                @if index == 0 || rows[index - 1].service != row.service {
                    text.name x="4" y=(at(y + 4.0)) { (service) }
                }
                @if several {
                    text.end x=(at(LEFT - 12.0)) y=(at(y + 4.0)) { (row.recovery.name()) }
                }
                @if let Some(share) = row.counts.recovered_of_detected() {
                    line.whisker x1=(at(x(share.low))) x2=(at(x(share.high))) y1=(at(y)) y2=(at(y)) {}
                    @for end in [share.low, share.high] {
                        line.whisker x1=(at(x(end))) x2=(at(x(end))) y1=(at(y - 4.0)) y2=(at(y + 4.0)) {}
                    }
                    circle.(way(row.recovery)) cx=(at(x(share.share))) cy=(at(y)) r="4" {}
                    text x=(at(WIDTH - RIGHT + 14.0)) y=(at(y + 4.0)) {
                        (interval(Some(share))) " of " (number(row.counts.detected()))
                    }
                }
            }
        }
    }
}

/// The class of a way to recover: its colour.
fn way(recovery: Recovery) -> String {
    format!("way-{}", recovery.name())
}

/// Added latencies of the recoveries that were transparent, in ascending order.
fn latencies<'r>(records: impl Iterator<Item = &'r Record>) -> Vec<u32> {
    let transparent = records.filter(|record| record.outcome == Outcome::Transparent);
    let mut found: Vec<u32> = transparent.filter_map(|record| record.added_us).collect();
    found.sort_unstable();
    found
}

/// A line of the diagram.
struct Series {
    name: String,
    class: String,
    sorted: Vec<u32>,
}

/// How much longer the slowest step of a client took because of a recovery, for each service and for each way to recover.
pub fn recovery_time(results: &Results, primary: Recovery) -> Markup {
    let of = |recovery: Recovery, service: Option<&str>| {
        latencies(results.records.iter().filter(move |record| {
            record.recovery == recovery && service.is_none_or(|service| record.service == service)
        }))
    };
    let services = results.configuration.services.iter().enumerate().map(|(index, service)| Series {
        name: service.clone(),
        class: format!("line-{}", index % 8),
        sorted: of(primary, Some(service)),
    });
    let ways = results.configuration.recovery.iter().map(|recovery| Series {
        name: recovery.name().to_owned(),
        class: way(*recovery),
        sorted: of(*recovery, None),
    });
    let mut services: Vec<Series> = services.collect();
    let mut ways: Vec<Series> = ways.collect();
    services.retain(|series| !series.sorted.is_empty());
    ways.retain(|series| !series.sorted.is_empty());
    let all = of(primary, None);
    if services.is_empty() {
        return html! { p { "No recovery was transparent, so there is nothing to show." } };
    }
    html! {
        figure { (histogram(&all)) figcaption { "How often which latency was added; all services, recovery " (primary.name()) "." } }
        figure { (distribution(&services)) figcaption { "The same as a cumulative distribution, by service." } }
        @if ways.len() > 1 {
            figure { (distribution(&ways)) figcaption { "By way to recover, all services." } }
        }
        div.wide { (quantiles(results)) }
    }
}

/// Decades that the axis must have: it begins at 1 µs, and whatever is less stands at its beginning.
fn decades(largest: u32) -> usize {
    (1..10).find(|decades| 10_u64.pow(*decades) >= u64::from(largest)).unwrap_or(10) as usize
}

fn shown(decade: usize) -> String {
    match decade {
        0..3 => format!("{} µs", 10_u32.pow(decade as u32)),
        3..6 => format!("{} ms", 10_u32.pow(decade as u32 - 3)),
        _ => format!("{} s", 10_u64.pow(decade as u32 - 6)),
    }
}

/// The axis of time, from 1 µs, with the area above it.
fn time_axis(decades: usize, top: f64, bottom: f64, x: impl Fn(f64) -> f64) -> Markup {
    html! {
        @for decade in 0..=decades {
            @let place = x(10_f64.powi(decade as i32));
            line.grid x1=(at(place)) x2=(at(place)) y1=(at(top)) y2=(at(bottom)) {}
            text.middle x=(at(place)) y=(at(bottom + 16.0)) { (shown(decade)) }
        }
    }
}

fn histogram(sorted: &[u32]) -> Markup {
    let decades = decades(sorted.last().copied().unwrap_or(0));
    let (top, bottom, left) = (10.0, 150.0, 60.0);
    let room = WIDTH - left - 20.0;
    let x = |value: f64| left + value.max(1.0).log10() / decades as f64 * room;
    let mut bins = vec![0_u64; decades * BINS];
    for value in sorted {
        let bin = (f64::from((*value).max(1)).log10() * BINS as f64) as usize;
        let last = bins.len() - 1;
        bins[bin.min(last)] += 1;
    }
    let most = bins.iter().copied().max().unwrap_or(0).max(1);
    let width = room / bins.len() as f64;
    let edge = |bin: usize| 10_f64.powf(bin as f64 / BINS as f64);
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {}", bottom + 24.0)) role="img" aria-label="histogram of added latency" {
            (time_axis(decades, top, bottom, x))
            text.end x=(at(left - 6.0)) y=(at(top + 8.0)) { (number(most)) }
            text.end x=(at(left - 6.0)) y=(at(bottom)) { "0" }
            @for (bin, count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
                // What is there can be seen, however little it is.
                @let height = (*count as f64 / most as f64 * (bottom - top)).max(1.5);
                rect.transparent x=(at(left + bin as f64 * width + 0.5)) width=(at(width - 1.0)) y=(at(bottom - height)) height=(at(height)) {
                    title { (number(*count)) " from " (format!("{:.0}", edge(bin))) " to " (format!("{:.0} µs", edge(bin + 1))) }
                }
            }
            line.axis x1=(at(left)) x2=(at(WIDTH - 20.0)) y1=(at(bottom)) y2=(at(bottom)) {}
        }
    }
}

fn distribution(series: &[Series]) -> Markup {
    let largest = series.iter().filter_map(|series| series.sorted.last()).max();
    let decades = decades(largest.copied().unwrap_or(0));
    let (top, bottom, left) = (10.0, 230.0, 60.0);
    let x = |value: f64| left + value.max(1.0).log10() / decades as f64 * (WIDTH - left - RIGHT);
    let y = |share: f64| bottom - share * (bottom - top);
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {}", bottom + 24.0)) role="img" aria-label="cumulative distribution of added latency" {
            (time_axis(decades, top, bottom, x))
            @for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
                line.grid x1=(at(left)) x2=(at(WIDTH - RIGHT)) y1=(at(y(share))) y2=(at(y(share))) {}
                text.end x=(at(left - 6.0)) y=(at(y(share) + 4.0)) { (format!("{:.0} %", share * 100.0)) }
            }
            @for (index, series) in series.iter().enumerate() {
                path.line.(series.class) d=(steps(&series.sorted, x, y)) {}
                @let place = top + 10.0 + 18.0 * index as f64;
                path.line.(series.class) d=(format!("M{} {}H{}", WIDTH - RIGHT + 16.0, at(place - 4.0), WIDTH - RIGHT + 46.0)) {}
                text x=(at(WIDTH - RIGHT + 54.0)) y=(at(place)) { (series.name) " (" (number(series.sorted.len() as u64)) ")" }
            }
        }
    }
}

/// A distribution as a path of steps, through some of its points if it has many.
fn steps(sorted: &[u32], x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut path = format!("M{} {}", at(x(1.0)), at(y(0.0)));
    let points = sorted.len().min(POINTS);
    for point in 1..=points {
        let share = point as f64 / points as f64;
        let value = quantile(sorted, share).unwrap_or(0);
        path.push_str(&format!("H{}V{}", at(x(f64::from(value))), at(y(share))));
    }
    path
}

fn quantiles(results: &Results) -> Markup {
    let microseconds = |value: Option<u32>| value.map_or("-".to_owned(), |value| number(u64::from(value)));
    html! {
        table.numbers {
            thead { tr {
                th.left { "recovery" } th.left { "service" } th { "transparent recoveries" } th { "median" } th { "90 %" } th { "99 %" } th { "99.9 %" } th { "most" }
            } }
            @for recovery in &results.configuration.recovery {
                tbody {
                    @for service in &results.configuration.services {
                        @let own = results.records.iter().filter(|record| record.recovery == *recovery && record.service == *service);
                        @let sorted = latencies(own);
                        @if !sorted.is_empty() {
                            tr {
                                th { (recovery.name()) } th { (service) } td { (number(sorted.len() as u64)) }
                                @for share in [0.5, 0.9, 0.99, 0.999, 1.0] { td { (microseconds(quantile(&sorted, share))) } }
                            }
                        }
                    }
                }
            }
        }
        p.note { "Microseconds of guest time." }
    }
}
