//! Standard output, the live status line, and the log.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::LogFormat;
use crate::sinks::Terminal;

/// Prints above the status line.
#[derive(Clone)]
pub(super) struct Screen {
    status: Option<ProgressBar>,
}

impl Screen {
    /// With a status line, if standard error is a terminal and `status` is wanted. It is there from the
    /// first [`Screen::begin`] on.
    pub(super) fn new(status: bool) -> Self {
        let status = (status && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { status }
    }

    /// Shows the status line.
    pub(super) fn begin(&self) {
        if let Some(bar) = &self.status {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
    }

    /// Prints to standard error.
    pub(super) fn print_error(&self, text: &str) {
        self.above(|| super::print_error(text));
    }

    /// Whether there is a status line.
    pub(super) fn has_status(&self) -> bool {
        self.status.is_some()
    }

    /// Changes the status line.
    pub(super) fn set_status(&self, text: String) {
        if let Some(bar) = &self.status {
            bar.set_message(text);
        }
    }

    /// Takes the status line away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.status {
            bar.finish_and_clear();
        }
    }

    fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.status {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Terminal for Screen {
    fn print(&self, text: &str) -> std::io::Result<()> {
        self.above(|| {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        })
    }
}

/// A log line goes to standard error in one piece. Where nobody reads it, the pipeline runs on.
impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.above(|| {
            let _ = std::io::stderr().lock().write_all(bytes);
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Starts the log: `verbosity` 0 shows what users should know, 1 and 2 more; `None` only errors.
pub(super) fn start_log(screen: &Screen, format: LogFormat, verbosity: Option<u8>) {
    let level = match verbosity {
        None => "error",
        Some(0) => "warn,streamrun=info",
        Some(1) => "info,streamrun=debug",
        Some(_) => "debug,streamrun=trace",
    };
    let filter =
        EnvFilter::builder().with_env_var("STREAMRUN_LOG").try_from_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(screen.clone()).log_internal_errors(false);
    let ansi = super::color(&std::io::stderr());
    let started = match format {
        LogFormat::Text => log.with_ansi(ansi).with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    // Only a second start in one process fails, and then there is a log.
    drop(started);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_taken_whole_whoever_reads_it() {
        let mut screen = Screen::new(false);
        assert_eq!(screen.write(b"").unwrap(), 0);
        assert!(screen.flush().is_ok());
    }
}
