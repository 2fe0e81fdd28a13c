//! Throughput by the time between two kills.

use maud::html;

use super::Outcome;

/// Sizes in the picture's own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 50.0;
/// The ends of the scale of intervals, in seconds.
const SHORTEST: f64 = 0.2;
const LONGEST: f64 = 20.0;
/// What MINIX 3 reached: one kill a second of the Ethernet driver alone during a download (Herder and others, DSN 2007).
const MINIX: [(f64, f64); 1] = [(1.0, 0.75)];

fn at(value: f64) -> String {
    format!("{value:.1}")
}

fn x(seconds: f64) -> f64 {
    LEFT + (seconds / SHORTEST).ln() / (LONGEST / SHORTEST).ln() * (WIDTH - LEFT - RIGHT)
}

fn y(ratio: f64) -> f64 {
    HEIGHT - BOTTOM - ratio.clamp(0.0, 1.1) / 1.1 * (HEIGHT - TOP - BOTTOM)
}

/// The picture.
pub fn draw(outcomes: &[Outcome]) -> String {
    let points: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.interval_s > 0.0).collect();
    let line: Vec<String> =
        points.iter().map(|point| format!("{},{}", at(x(point.interval_s)), at(y(point.throughput_ratio)))).collect();
    let picture = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) font-family="sans-serif" font-size="13" {
            rect width=(WIDTH) height=(HEIGHT) fill="white" {}
            text x=(LEFT) y="20" font-size="15" { "Throughput while services are killed, relative to no kills" }
            @for percent in [0, 25, 50, 75, 100] {
                @let height = y(f64::from(percent) / 100.0);
                line x1=(LEFT) x2=(at(WIDTH - RIGHT)) y1=(at(height)) y2=(at(height)) stroke="#ddd" {}
                text x=(at(LEFT - 6.0)) y=(at(height + 4.0)) text-anchor="end" { (percent) " %" }
            }
            @for seconds in [0.25, 1.0, 4.0, 15.0] {
                line x1=(at(x(seconds))) x2=(at(x(seconds))) y1=(TOP) y2=(at(HEIGHT - BOTTOM)) stroke="#ddd" {}
                text x=(at(x(seconds))) y=(at(HEIGHT - BOTTOM + 18.0)) text-anchor="middle" { (seconds) " s" }
            }
            text x=(at((LEFT + WIDTH - RIGHT) / 2.0)) y=(at(HEIGHT - 10.0)) text-anchor="middle" { "time between two kills" }
            polyline points=(line.join(" ")) fill="none" stroke="#06c" stroke-width="2" {}
            @for point in &points {
                circle cx=(at(x(point.interval_s))) cy=(at(y(point.throughput_ratio))) r="4" fill="#06c" {
                    title { (format!("{} s: {:.1} %, {} kills, {} broken", point.interval_s, point.throughput_ratio * 100.0, point.kills, point.broken)) }
                }
            }
            @for (seconds, ratio) in MINIX {
                rect x=(at(x(seconds) - 4.0)) y=(at(y(ratio) - 4.0)) width="8" height="8" fill="#c60" { title { "MINIX 3" } }
            }
            circle cx=(LEFT + 8.0) cy="33" r="4" fill="#06c" {}
            text x=(LEFT + 18.0) y="37" { "curios-rs: card, stack, files, timer and scheduler in turns" }
            rect x=(LEFT + 392.0) y="29" width="8" height="8" fill="#c60" {}
            text x=(LEFT + 406.0) y="37" { "MINIX 3: Ethernet driver" }
        }
    };
    picture.into_string()
}

#[cfg(test)]
mod tests {
    use super::super::tests::outcome;
    use super::*;

    #[test]
    fn the_scale_holds_what_is_drawn() {
        for seconds in [0.25, 1.0, 4.0, 15.0] {
            assert!((LEFT..WIDTH - RIGHT).contains(&x(seconds)), "{seconds}");
        }
        assert!(y(1.0) < y(0.5) && y(2.0) >= TOP && y(0.0) <= HEIGHT - BOTTOM);
    }

    #[test]
    fn each_interval_has_a_point_and_the_run_without_kills_none() {
        let picture = draw(&[outcome(0.0, 1.0), outcome(1.0, 0.95), outcome(0.25, 0.8)]);
        assert_eq!(picture.matches("<title>").count(), 2 + MINIX.len());
        assert!(picture.contains("80.0 %") && picture.starts_with("<svg"));
    }
}
