//! `copier`: copies its share of the files again and again until it is told to stop. Its argument is its number.
//!
//! It knows nothing of failures: an error of any call is one that it should not have seen. Its status is the number
//! of those, at most 255, with the number of files copied above it.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod work {
    use core::fmt::Write;

    use console::{ConsoleClient, Output};
    use copier::{COPIERS, Hex, STOP, Source};
    use fs::{FsClient, FsError};
    use rt::CallError;

    /// Runs until the file [`STOP`] exists.
    pub fn main(number: u32) -> u32 {
        match Copier::new(number) {
            Ok(mut copier) => {
                copier.run();
                copier.errors.min(255) | copier.copied.min(0xff_ffff) << 8
            }
            Err(error) => {
                // Without a session there is nobody to tell but the kernel's log; the status says it, too.
                let _ = rt::sys::log(error.text());
                1
            }
        }
    }

    struct Copier {
        number: u32,
        files: FsClient,
        console: ConsoleClient,
        copied: u32,
        errors: u32,
    }

    impl Copier {
        fn new(number: u32) -> Result<Self, rt::Error> {
            let (files, console) = (FsClient::bind()?, ConsoleClient::bind()?);
            Ok(Copier { number, files, console, copied: 0, errors: 0 })
        }

        /// Prints a line; an error of the console counts like any other.
        fn say(&mut self, text: core::fmt::Arguments<'_>) {
            let mut output = Output::new(&self.console);
            let written = writeln!(output, "copier {}: {text}", self.number);
            if output.finish().is_err() || written.is_err() {
                self.errors += 1;
            }
        }

        fn check<T>(&mut self, what: &str, result: Result<T, CallError<FsError>>) -> Option<T> {
            match result {
                Ok(value) => Some(value),
                Err(error) => {
                    self.errors += 1;
                    self.say(format_args!("{what}: {error}"));
                    None
                }
            }
        }

        fn stopped(&mut self) -> bool {
            match self.files.stat(STOP.as_bytes()) {
                Ok(_) => true,
                Err(CallError::Service(FsError::NotFound)) => false,
                Err(error) => self.check::<()>("stat", Err(error)).is_none() && self.errors > 20,
            }
        }

        fn run(&mut self) {
            let sources = copier::sources(&self.files);
            let Some(sources) = self.check("list", sources) else { return };
            let share = |source: &(usize, &Source)| source.0 as u32 % COPIERS == self.number;
            let mine: alloc::vec::Vec<_> = sources.iter().enumerate().filter(share).map(|(_, source)| source).collect();
            loop {
                for source in &mine {
                    self.copy(source);
                }
                if self.stopped() || self.errors > 20 {
                    return;
                }
            }
        }

        fn copy(&mut self, source: &Source) {
            let written = copier::copy(&self.files, source);
            let Some(written) = self.check(&source.path, written) else { return };
            let read = copier::hash(&self.files, &source.copy);
            let Some((read, size)) = self.check(&source.copy, read) else { return };
            self.copied += 1;
            if read == written && size == source.size {
                self.say(format_args!("{} {size} bytes {}", source.path, Hex(&read)));
            } else {
                self.errors += 1;
                self.say(format_args!("{} DIFFERS from its copy", source.path));
            }
        }
    }

    extern crate alloc;
}

#[cfg(target_os = "none")]
rt::program!(work::main);

#[cfg(not(target_os = "none"))]
fn main() {
    println!("copier runs on the target: cargo xtask run");
}
