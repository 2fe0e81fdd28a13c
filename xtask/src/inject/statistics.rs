//! Shares, and how sure one can be of them.

/// The 97.5 % quantile of the standard normal distribution: two-sided 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// A share with its 95 % confidence interval, each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Share {
    /// As observed.
    pub share: f64,
    /// The interval's lower end.
    pub low: f64,
    /// And its upper one.
    pub high: f64,
}

/// `hits` of `of` with the score interval of Wilson (E. B. Wilson, "Probable Inference", 1927), which unlike the usual one
/// holds near 0 and 1, where all shares of interest are. `None` of nothing.
pub fn wilson(hits: u64, of: u64) -> Option<Share> {
    if of == 0 {
        return None;
    }
    let (count, share) = (of as f64, hits as f64 / of as f64);
    let spread = Z * Z / count;
    let centre = (share + spread / 2.0) / (1.0 + spread);
    let half = (share * (1.0 - share) * spread + spread * spread / 4.0).sqrt() / (1.0 + spread);
    // At the ends the interval touches them exactly; rounding must not say otherwise.
    let low = if hits == 0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if hits == of { 1.0 } else { (centre + half).min(1.0) };
    Some(Share { share, low, high })
}

/// The value below which a share of all lies (nearest rank); `None` of nothing. `sorted` is in ascending order.
pub fn quantile(sorted: &[u32], share: f64) -> Option<u32> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<Share>, low: f64, high: f64) -> bool {
        found.is_some_and(|found| (found.low - low).abs() < 5e-4 && (found.high - high).abs() < 5e-4)
    }

    #[test]
    fn intervals_are_those_of_the_literature() {
        // R. G. Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
        assert!(near(wilson(81, 263), 0.2553, 0.3662));
        assert!(near(wilson(15, 148), 0.0624, 0.1605));
        assert!(near(wilson(0, 20), 0.0, 0.1611));
        assert!(near(wilson(1, 29), 0.0061, 0.1718));
        assert!(near(wilson(29, 29), 0.8830, 1.0));
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn the_interval_holds_the_share_and_stays_in_its_bounds() {
        for of in 1..60 {
            for hits in 0..=of {
                let found = wilson(hits, of).unwrap();
                assert!(
                    0.0 <= found.low && found.low <= found.share && found.share <= found.high && found.high <= 1.0,
                    "{hits} of {of}"
                );
                assert_eq!((found.low == 0.0, found.high == 1.0), (hits == 0, hits == of), "{hits} of {of}");
            }
        }
    }

    #[test]
    fn quantiles_are_values_that_occur() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7], 0.0), Some(7));
        assert_eq!(quantile(&[1, 2, 3, 4], 0.5), Some(2));
        assert_eq!(quantile(&[1, 2, 3, 4], 0.51), Some(3));
        assert_eq!(quantile(&[1, 2, 3, 4], 1.0), Some(4));
    }
}
