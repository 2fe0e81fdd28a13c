//! `store`: named values.

use core::fmt::{self, Write};

use rt::CallError;
use store::{MAX_VALUE, StoreError, Subscriber};

use crate::command::{Context, Failure};
use crate::words::Words;

/// What `store` takes.
const HELP: &str = "\
store ls [START]      lists the keys that start so, with their values
store get KEY         shows a value
store put KEY WORD... publishes a value; it is gone when the shell ends
store rm KEY          withdraws a value of the shell's own
store watch PATTERN   says when a key changes; a * at the end stands for any rest
store unwatch PATTERN ends that
";

/// A value as text, if it is some; else in hexadecimal digits.
struct Value<'a>(&'a [u8]);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match core::str::from_utf8(self.0) {
            Ok(text) if !text.contains(char::is_control) => f.write_str(text),
            _ => self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// Tells which key an error is about.
fn about<T>(key: &str, result: Result<T, CallError<StoreError>>) -> Result<T, Failure> {
    result.map_err(|error| Failure::asked("store", key, error))
}

pub fn store(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    if words.get(1) == Some("help") {
        write!(context.out, "{HELP}")?;
        return Ok(());
    }
    let (store, out) = context.store()?;
    match (words.get(1), words.get(2), words.argument_count()) {
        (Some("ls"), start, 1..=2) => return ls(store, start.unwrap_or_default(), out),
        (Some("get"), Some(key), 2) => {
            let mut value = [0; MAX_VALUE];
            let entry = about(key, store.get(key, &mut value))?;
            writeln!(out, "{} (version {}, of domain {})", Value(entry.value), entry.version, entry.owner)?;
        }
        (Some("put"), Some(key), 3..) => {
            let mut value = rt::Text::<{ MAX_VALUE + 1 }>::new();
            for (index, word) in words.arguments().skip(2).enumerate() {
                write!(value, "{}{word}", if index == 0 { "" } else { " " })?;
            }
            let version = about(key, store.put(key, value.as_str().as_bytes()))?;
            writeln!(out, "{key} has version {version}")?;
        }
        (Some("rm"), Some(key), 2) => {
            about(key, store.withdraw(key.as_bytes()))?;
        }
        (Some("watch"), Some(pattern), 2) => about(pattern, store.follow(pattern, false))?,
        (Some("unwatch"), Some(pattern), 2) => about(pattern, store.unsubscribe(pattern.as_bytes()))?,
        _ => return Err(Failure::Said("`store help` lists what it takes")),
    }
    Ok(())
}

fn ls(store: &Subscriber, start: &str, out: &mut impl Write) -> Result<(), Failure> {
    let mut written = Ok(());
    let mut found = false;
    let listed = store.each(start, |key| {
        found = true;
        let mut value = [0; MAX_VALUE];
        written = match store.get(key.as_str(), &mut value) {
            Ok(entry) => writeln!(out, "{:<32}  {}", key.as_str(), Value(entry.value)).map_err(Failure::from),
            // Withdrawn since it was listed.
            Err(CallError::Service(StoreError::NotFound)) => Ok(()),
            Err(error) => about(key.as_str(), Err(error)),
        };
        written.is_ok()
    });
    about(if start.is_empty() { "ls" } else { start }, listed)?;
    written?;
    if !found {
        writeln!(out, "nothing is published")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_texts_or_digits() {
        assert_eq!(Value("ready".as_bytes()).to_string(), "ready");
        assert_eq!(Value(&[0, 255, 10]).to_string(), "00ff0a");
        assert_eq!(Value(b"").to_string(), "");
    }
}
