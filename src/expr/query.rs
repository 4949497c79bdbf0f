//! The text of a `sql` step: one query, and what is wrong with a text that is none. What the query
//! means over its tables is found out in [`super::session`].

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError};

use crate::diagnostic::suggest;

/// What is wrong with a query's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The byte of the text where it is; `None` where no one place is to blame.
    pub at: Option<usize>,
}

impl QueryError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, at: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    fn at(self, at: Option<usize>) -> Self {
        Self { at, ..self }
    }
}

/// The tables that a query reads.
///
/// # Errors
/// Where the text is no single query.
pub fn tables(sql: &str) -> Result<Vec<String>, QueryError> {
    check_size(sql)?;
    let statement = query(sql)?;
    let (tables, _) = resolve_table_references(&statement, false).map_err(|error| QueryError::new(error.message()))?;
    Ok(tables.into_iter().map(|table| table.table().to_owned()).collect())
}

/// Refuses what would need a deep stack: long chains of operators or set operations nest.
fn check_size(sql: &str) -> Result<(), QueryError> {
    const MAX_PARTS: usize = 200;
    let symbols = sql.chars().filter(|c| "+-*/%|&<>=^~".contains(*c)).count();
    let nesting = |word: &str| {
        ["and", "or", "union", "intersect", "except", "not", "join"].iter().any(|it| word.eq_ignore_ascii_case(it))
    };
    let words = sql.split(|c: char| !c.is_alphanumeric()).filter(|word| nesting(word)).count();
    if symbols + words > MAX_PARTS {
        return Err(QueryError::new(format!("the query has more than {MAX_PARTS} operators"))
            .help("split it into several steps"));
    }
    Ok(())
}

fn query(sql: &str) -> Result<Statement, QueryError> {
    let tokens =
        Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().map_err(|error| unreadable(sql, &error))?;
    let start = check_tokens(sql, &tokens)?;
    let mut statements = DFParserBuilder::new(tokens)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| explain(sql, &error))?;
    match statements.pop_front() {
        Some(Statement::Statement(statement)) if matches!(*statement, SqlStatement::Query(_)) => {
            Ok(Statement::Statement(statement))
        }
        _ => Err(QueryError::new("only a query (`select ...`) can be a step")
            .help("a query reads the table `stream`; where its rows go is said by `sinks`")
            .at(start)),
    }
}

/// Refuses all but one query that reads its tables once; the byte where it starts.
fn check_tokens(sql: &str, tokens: &[TokenWithSpan]) -> Result<Option<usize>, QueryError> {
    let solid: Vec<&TokenWithSpan> =
        tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let mut statements = solid.split(|token| token.token == Token::SemiColon).filter_map(|statement| statement.first());
    let Some(first) = statements.next() else {
        return Err(QueryError::new("there is no query").help("write one: `select ... from stream`"));
    };
    if let Some(second) = statements.next() {
        return Err(QueryError::new("a `sql` step is one query, and after the `;` another statement begins")
            .help("put each query into a `sql` step of its own")
            .at(byte_of(sql, second.span.start)));
    }
    let recursive = solid.windows(2).find_map(|pair| match pair {
        [with, recursive] if is(with, Keyword::WITH) && is(recursive, Keyword::RECURSIVE) => Some(recursive),
        _ => None,
    });
    if let Some(recursive) = recursive {
        return Err(QueryError::new("a query cannot read its own result: `with recursive` is not possible")
            .help("for a row per number, use `sequence(start, stop)` in a `flat_map` step")
            .at(byte_of(sql, recursive.span.start)));
    }
    Ok(byte_of(sql, first.span.start))
}

fn is(token: &TokenWithSpan, keyword: Keyword) -> bool {
    matches!(&token.token, Token::Word(word) if word.keyword == keyword)
}

/// What the tokenizer does not understand.
fn unreadable(sql: &str, error: &TokenizerError) -> QueryError {
    let says = |part: &str| error.message.contains(part);
    let found = if says("string literal") {
        QueryError::new("a text is not closed")
            .help("in SQL, text stands in single quotes, and `''` is a quote inside it: `'it''s'`")
    } else if says("close delimiter") {
        QueryError::new("a quoted name is not closed").help("names stand in double quotes, text in single quotes")
    } else if says("comment") {
        QueryError::new("a comment is not closed").help("it ends with `*/`")
    } else {
        QueryError::new(error.message.clone())
    };
    found.at(byte_of(sql, error.location))
}

/// What the parser does not understand.
fn explain(sql: &str, error: &DataFusionError) -> QueryError {
    match error {
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => explain(sql, inner),
        DataFusionError::SQL(inner, _) => match inner.as_ref() {
            ParserError::RecursionLimitExceeded => {
                QueryError::new("the query is nested too deeply").help("split it into several steps")
            }
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => syntax(sql, message),
        },
        other => QueryError::new(other.message()),
    }
}

/// The parser writes `Expected: end of statement, found: form at Line: 1, Column: 20`.
fn syntax(sql: &str, message: &str) -> QueryError {
    let (message, at) = match message.rsplit_once(" at Line: ") {
        Some((message, place)) => (message, location(place).and_then(|location| byte_of(sql, location))),
        None => (message, None),
    };
    let Some((expected, found)) = message.strip_prefix("Expected: ").and_then(|it| it.split_once(", found: ")) else {
        return QueryError::new(message).at(at);
    };
    if found == "EOF" {
        return QueryError::new(format!("the query ends where {expected} is expected"));
    }
    let words = ["select", "from", "where", "group", "having", "order", "limit", "join", "union", "with"];
    let error = QueryError::new(format!("`{found}` stands where {expected} is expected")).at(at);
    match suggest::nearest(found, words) {
        Some(word) => error.help(format!("did you mean `{word}`?")),
        None => error,
    }
}

/// `1, Column: 20`
fn location(place: &str) -> Option<Location> {
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location { line: line.parse().ok()?, column: column.parse().ok()? })
}

/// The byte of a line and a column, both counted from 1; a column is a character.
fn byte_of(sql: &str, location: Location) -> Option<usize> {
    let line = usize::try_from(location.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(location.column).ok()?.checked_sub(1)?;
    let start: usize = sql.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = sql.get(start..)?;
    Some(start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(sql: &str) -> QueryError {
        tables(sql).expect_err(sql)
    }

    #[test]
    fn the_tables_of_a_query() {
        let of = |sql: &str| tables(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(of("select * from stream"), ["stream"]);
        assert_eq!(of("select 'a;b' as t from stream;\n-- done\n;"), ["stream"]);
        assert_eq!(of("with s as (select * from a) select * from s join B on s.x = B.x"), ["B", "a"]);
        assert_eq!(of("(select 1) union values (2)"), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_and_where() {
        for (sql, message, rest) in [
            ("select 1; select 2", "a `sql` step is one query, and after the `;` another statement begins", "select 2"),
            ("select 1;\n\ndrop table x", "a `sql` step is one query, and after the `;` another", "drop table x"),
            ("select 'grün\nfrom stream", "a text is not closed", "'grün\nfrom stream"),
            ("select \"a from stream", "a quoted name is not closed", "\"a from stream"),
            ("with recursive t as (select 1) select 2", "a query cannot read its own result", "recursive t as"),
            ("select (with  RECURSIVE t as (select 1) select 2)", "a query cannot read its own", "RECURSIVE t as"),
            ("selec value from stream", "`selec` stands where an SQL statement is expected", "selec value"),
            ("select 'ü',\n  n form stream", "`stream` stands where end of statement is expected", "stream"),
            ("  insert into stream select 1", "only a query (`select ...`) can be a step", "insert into"),
            ("create table t as select 1", "only a query (`select ...`) can be a step", "create table"),
            ("explain select 1", "only a query (`select ...`) can be a step", "explain select"),
        ] {
            let error = error(sql);
            assert!(error.message.starts_with(message), "{sql}: {error:?}");
            assert!(sql[error.at.unwrap()..].starts_with(rest), "{sql}: {error:?}");
        }
    }

    #[test]
    fn what_is_wrong_as_a_whole() {
        assert_eq!(error("").message, "there is no query");
        assert_eq!(error("-- nothing").message, "there is no query");
        assert_eq!(error("select 1 from stream where").message, "the query ends where an expression is expected");
        assert_eq!(error(&format!("select 1{}", " + 1".repeat(300))).message, "the query has more than 200 operators");
        assert_eq!(error("selec 1").help.as_deref(), Some("did you mean `select`?"));
        // On a thread with the stack of a worker.
        let nested = || assert_eq!(error(&"(".repeat(100)).message, "the query is nested too deeply");
        std::thread::Builder::new().stack_size(8 << 20).spawn(nested).unwrap().join().unwrap();
    }
}
