//! Functions of text. Positions and lengths count characters, not bytes.
//! Unless an entry says otherwise, the result is NULL if an argument is.

use datafusion::functions::expr_fn;
use datafusion::functions_nested::expr_fn::array_to_string;
use datafusion::logical_expr::{Expr, lit};

use super::{at_most, boolean, int, only_if, string, strings, take};
use crate::expr::function::{Accepts, Function, Group, Parameter, optional, parameter, repeated};
use crate::expr::udf::{self, Side};

const PATTERN: Parameter = parameter("pattern", Accepts::Constant(udf::check_pattern));
const TEMPLATE: Parameter = parameter("template", Accepts::Constant(udf::check_template));

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "split",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String), parameter("separator", Accepts::String)],
        returns: strings,
        summary: "The pieces of a text between separators. An empty separator gives its characters.",
        example: (r#"split("to be or", " ")"#, r#"["to","be","or"]"#),
        build: |arguments| {
            let [text, separator] = take(arguments);
            udf::split(text, separator)
        },
    },
    Function {
        name: "join",
        group: Group::Strings,
        parameters: &[parameter("list", Accepts::List), parameter("separator", Accepts::String)],
        returns: string,
        summary: "The elements of a list as one text, with a separator between them. NULL elements are left out.",
        example: (r#"join(list("a", "b"), "-")"#, r#""a-b""#),
        build: |arguments| {
            let [list, separator] = take(arguments);
            array_to_string(list, separator)
        },
    },
    Function {
        name: "lower",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String)],
        returns: string,
        summary: "The text in lower case.",
        example: (r#"lower("ABC")"#, r#""abc""#),
        build: |arguments| {
            let [text] = take(arguments);
            expr_fn::lower(text)
        },
    },
    Function {
        name: "upper",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String)],
        returns: string,
        summary: "The text in upper case.",
        example: (r#"upper("abc")"#, r#""ABC""#),
        build: |arguments| {
            let [text] = take(arguments);
            expr_fn::upper(text)
        },
    },
    Function {
        name: "trim",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String)],
        returns: string,
        summary: "The text without white space at its start and end.",
        example: (r#"trim("  a b ")"#, r#""a b""#),
        build: |arguments| {
            let [text] = take(arguments);
            udf::trim(Side::Both, text)
        },
    },
    Function {
        name: "trim_start",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String)],
        returns: string,
        summary: "The text without white space at its start.",
        example: (r#"trim_start("  a b ")"#, r#""a b ""#),
        build: |arguments| {
            let [text] = take(arguments);
            udf::trim(Side::Start, text)
        },
    },
    Function {
        name: "trim_end",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String)],
        returns: string,
        summary: "The text without white space at its end.",
        example: (r#"trim_end("  a b ")"#, r#""  a b""#),
        build: |arguments| {
            let [text] = take(arguments);
            udf::trim(Side::End, text)
        },
    },
    Function {
        name: "length",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String)],
        returns: int,
        summary: "The number of characters.",
        example: (r#"length("grüße")"#, "5"),
        build: |arguments| {
            let [text] = take(arguments);
            expr_fn::character_length(text)
        },
    },
    Function {
        name: "substring",
        group: Group::Strings,
        parameters: &[
            parameter("text", Accepts::String),
            parameter("start", Accepts::Integer),
            optional("length", Accepts::Integer),
        ],
        returns: string,
        summary: "The characters from a position on, all or so many. The first is at 1; a start below that counts from before the text, as in SQL. NULL for a negative length.",
        example: (r#"substring("streaming", 1, 6)"#, r#""stream""#),
        build: substring,
    },
    Function {
        name: "left",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String), parameter("count", Accepts::Integer)],
        returns: string,
        summary: "The first characters; all but the last ones for a negative count.",
        example: (r#"left("stream", 2)"#, r#""st""#),
        build: |arguments| {
            let [text, count] = take(arguments);
            expr_fn::left(text, count)
        },
    },
    Function {
        name: "right",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String), parameter("count", Accepts::Integer)],
        returns: string,
        summary: "The last characters; all but the first ones for a negative count.",
        example: (r#"right("stream", 2)"#, r#""am""#),
        build: |arguments| {
            let [text, count] = take(arguments);
            expr_fn::right(text, count)
        },
    },
    Function {
        name: "replace",
        group: Group::Strings,
        parameters: &[
            parameter("text", Accepts::String),
            parameter("from", Accepts::String),
            parameter("to", Accepts::String),
        ],
        returns: string,
        summary: "The text with every occurrence of one text replaced by another.",
        example: (r#"replace("a-b-c", "-", "+")"#, r#""a+b+c""#),
        build: |arguments| {
            let [text, from, to] = take(arguments);
            expr_fn::replace(text, from, to)
        },
    },
    Function {
        name: "starts_with",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String), parameter("part", Accepts::String)],
        returns: boolean,
        summary: "Whether the text starts with another.",
        example: (r#"starts_with("error 42", "error")"#, "true"),
        build: |arguments| {
            let [text, part] = take(arguments);
            expr_fn::starts_with(text, part)
        },
    },
    Function {
        name: "ends_with",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String), parameter("part", Accepts::String)],
        returns: boolean,
        summary: "Whether the text ends with another.",
        example: (r#"ends_with("access.log", ".log")"#, "true"),
        build: |arguments| {
            let [text, part] = take(arguments);
            expr_fn::ends_with(text, part)
        },
    },
    Function {
        name: "contains",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String), parameter("part", Accepts::String)],
        returns: boolean,
        summary: "Whether the text contains another.",
        example: (r#"contains("an error here", "error")"#, "true"),
        build: |arguments| {
            let [text, part] = take(arguments);
            expr_fn::contains(text, part)
        },
    },
    Function {
        name: "index_of",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String), parameter("part", Accepts::String)],
        returns: int,
        summary: "The position of the first occurrence, counted from 1; 0 if there is none.",
        example: (r#"index_of("a=b", "=")"#, "2"),
        build: |arguments| {
            let [text, part] = take(arguments);
            expr_fn::strpos(text, part)
        },
    },
    Function {
        name: "concat",
        group: Group::Strings,
        parameters: &[repeated("values", Accepts::Any)],
        returns: string,
        summary: "The values as one text. Numbers and the like are turned into text; NULL counts as empty.",
        example: (r#"concat("v", 1, ".", 2)"#, r#""v1.2""#),
        build: |arguments| expr_fn::concat(arguments.into_iter().map(udf::to_string).collect()),
    },
    Function {
        name: "format",
        group: Group::Strings,
        parameters: &[TEMPLATE, Parameter { optional: true, ..repeated("values", Accepts::Any) }],
        returns: string,
        summary: "A template whose `{}` are replaced by the values, in order; `{{` and `}}` are braces. NULL and missing values count as empty, values too many are left out.",
        example: (r#"format("{} of {}", 3, "four")"#, r#""3 of four""#),
        build: udf::format,
    },
    Function {
        name: "repeat",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String), parameter("times", Accepts::Integer)],
        returns: string,
        summary: "The text several times in a row. NULL for more than 10000 times.",
        example: (r#"repeat("ab", 3)"#, r#""ababab""#),
        build: |arguments| {
            let [text, times] = take(arguments);
            expr_fn::repeat(text, at_most(times, 10_000))
        },
    },
    Function {
        name: "reverse",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String)],
        returns: string,
        summary: "The characters in reverse order.",
        example: (r#"reverse("abc")"#, r#""cba""#),
        build: |arguments| {
            let [text] = take(arguments);
            expr_fn::reverse(text)
        },
    },
    Function {
        name: "lpad",
        group: Group::Strings,
        parameters: &[
            parameter("text", Accepts::String),
            parameter("length", Accepts::Integer),
            optional("fill", Accepts::String),
        ],
        returns: string,
        summary: "The text brought to a number of characters: filled at its start with spaces or another text, or cut at its end. NULL for more than 10000.",
        example: (r#"lpad("7", 3, "0")"#, r#""007""#),
        build: |arguments| expr_fn::lpad(padded(arguments)),
    },
    Function {
        name: "rpad",
        group: Group::Strings,
        parameters: &[
            parameter("text", Accepts::String),
            parameter("length", Accepts::Integer),
            optional("fill", Accepts::String),
        ],
        returns: string,
        summary: "The text brought to a number of characters: filled at its end with spaces or another text, or cut there. NULL for more than 10000.",
        example: (r#"rpad("7", 3, ".")"#, r#""7..""#),
        build: |arguments| expr_fn::rpad(padded(arguments)),
    },
    Function {
        name: "regex_match",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String), PATTERN],
        returns: boolean,
        summary: "Whether a regular expression is found anywhere in the text.",
        example: (r#"regex_match("error 42", "[0-9]+")"#, "true"),
        build: udf::regex_match,
    },
    Function {
        name: "regex_extract",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String), PATTERN, optional("group", Accepts::Integer)],
        returns: string,
        summary: "What a regular expression finds first: its first group, or all of it if it has no group or the group asked for is 0. NULL if it is not found.",
        example: (r#"regex_extract("user=ann id=7", "user=([a-z]+)")"#, r#""ann""#),
        build: udf::regex_extract,
    },
    Function {
        name: "regex_extract_all",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String), PATTERN, optional("group", Accepts::Integer)],
        returns: strings,
        summary: "Everything that a regular expression finds, as `regex_extract` does; an empty list if there is nothing. NULL if there is no such group.",
        example: (r#"regex_extract_all("a=1 b=2", "=([0-9])")"#, r#"["1","2"]"#),
        build: udf::regex_extract_all,
    },
    Function {
        name: "regex_replace",
        group: Group::Strings,
        parameters: &[parameter("text", Accepts::String), PATTERN, parameter("replacement", Accepts::String)],
        returns: string,
        summary: "The text with everything that a regular expression finds replaced; `$1` and `${name}` stand for its groups.",
        example: (r#"regex_replace("2020-01", "([0-9]+)-([0-9]+)", "$2/$1")"#, r#""01/2020""#),
        build: udf::regex_replace,
    },
];

fn substring(arguments: Vec<Expr>) -> Expr {
    let to_the_end = arguments.len() < 3;
    let [text, start, length] = take(arguments);
    if to_the_end {
        return expr_fn::substr(text, start);
    }
    // DataFusion fails for a negative length.
    expr_fn::substring(text, start, only_if(length.clone().gt_eq(lit(0_i64)), length))
}

fn padded(mut arguments: Vec<Expr>) -> Vec<Expr> {
    if let Some(length) = arguments.get_mut(1) {
        *length = at_most(std::mem::take(length), 10_000);
    }
    arguments
}
