//! Where the records of a CSV text begin and end: quoted fields may hold line ends.
//!
//! Values are parsed by Arrow; this finds the records, so that a bad one can be set aside alone.

use memchr::{memchr, memchr2};

/// The characters that divide a text into records and fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    pub delimiter: u8,
    pub quote: u8,
    pub escape: Option<u8>,
}

/// One record, without its line end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub text: &'a [u8],
    /// False if the text ends inside quotes.
    pub closed: bool,
}

/// Where a reader stands within a record.
#[derive(Clone, Copy)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    Escaped,
    /// After a quote inside quotes: the end of the quotes, or the first of two for one quote.
    QuoteEnd,
}

/// What a byte means.
enum Meaning {
    Value,
    Mark,
    FieldEnd,
    RecordEnd,
}

impl Dialect {
    /// The records of a text. Empty lines are none.
    pub(super) fn records(self, text: &[u8]) -> Records<'_> {
        Records { dialect: self, rest: text, quotes: memchr(self.quote, text).is_some() }
    }

    /// The fields of a record, without their quotes.
    pub(super) fn fields(self, record: &[u8]) -> Vec<Vec<u8>> {
        let mut fields = Vec::new();
        let mut field = Vec::new();
        let mut state = State::FieldStart;
        for &byte in record {
            let (next, meaning) = self.step(state, byte);
            state = next;
            match meaning {
                Meaning::Value => field.push(byte),
                Meaning::Mark => {}
                Meaning::FieldEnd => fields.push(std::mem::take(&mut field)),
                Meaning::RecordEnd => break,
            }
        }
        fields.push(field);
        fields
    }

    /// How long the record at the start of `text` is, and whether its quotes are closed.
    fn record_length(self, text: &[u8]) -> (usize, bool) {
        let mut state = State::FieldStart;
        for (i, &byte) in text.iter().enumerate() {
            let (next, meaning) = self.step(state, byte);
            if matches!(meaning, Meaning::RecordEnd) {
                return (i, true);
            }
            state = next;
        }
        (text.len(), !matches!(state, State::Quoted | State::Escaped))
    }

    fn step(self, state: State, byte: u8) -> (State, Meaning) {
        match state {
            State::Escaped => (State::Quoted, Meaning::Value),
            State::Quoted if byte == self.quote => (State::QuoteEnd, Meaning::Mark),
            State::Quoted if Some(byte) == self.escape => (State::Escaped, Meaning::Mark),
            State::Quoted => (State::Quoted, Meaning::Value),
            State::FieldStart if byte == self.quote => (State::Quoted, Meaning::Mark),
            State::QuoteEnd if byte == self.quote => (State::Quoted, Meaning::Value),
            State::FieldStart | State::Plain | State::QuoteEnd if byte == self.delimiter => {
                (State::FieldStart, Meaning::FieldEnd)
            }
            State::FieldStart | State::Plain | State::QuoteEnd if is_line_end(byte) => {
                (State::FieldStart, Meaning::RecordEnd)
            }
            State::FieldStart | State::Plain | State::QuoteEnd => (State::Plain, Meaning::Value),
        }
    }
}

/// The records of a text, in order.
pub(super) struct Records<'a> {
    dialect: Dialect,
    rest: &'a [u8],
    /// Without any quote in the text, records are lines.
    quotes: bool,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let start = self.rest.iter().position(|byte| !is_line_end(*byte))?;
        let rest = self.rest.get(start..)?;
        let (length, closed) = if self.quotes {
            self.dialect.record_length(rest)
        } else {
            (memchr2(b'\n', b'\r', rest).unwrap_or(rest.len()), true)
        };
        let (text, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Record { text, closed })
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}
