//! What a campaign leaves behind: a folder with its configuration and a line for each experiment.
//!
//! | file | what |
//! |---|---|
//! | `campaign.json` | the [`Configuration`]: all that the results depend on |
//! | `shard.json` | which [`Shard`] of the campaign this is, if it is not the whole |
//! | `results.partial.jsonl` | while the campaign runs: records in the order in which they came |
//! | `results.jsonl` | when it has ended: records in the order of the plan |
//!
//! Nothing in a record depends on how the campaign was carried out: not on the number of jobs, shards or interruptions, and
//! not on the time of day. So a campaign that was sharded or resumed ends in the same bytes as one in one go.

mod campaign;
mod lines;
mod merge;
mod record;
pub mod summary;
#[cfg(test)]
pub mod tests;

pub use campaign::{Campaign, Configuration, Golden, Results, Shard};
pub use lines::replace;
pub use merge::merge;
pub use record::{Detected, Hex, Reach, Record, Second, When, Where};
