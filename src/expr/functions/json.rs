//! Functions of JSON in text. A path is written `user.tags[0].name` or `$.user.tags[0].name`; a name
//! with special characters as `["content-type"]`, in either kind of quotes.

use super::{boolean, double, long, string};
use crate::expr::function::{Accepts, Function, Group, Parameter, parameter};
use crate::expr::udf::{self, JsonType};

const PATH: Parameter = parameter("path", Accepts::Constant(udf::check_path));

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "json_get",
        group: Group::Json,
        parameters: &[parameter("text", Accepts::String), PATH],
        returns: string,
        summary: "The value at a path such as `user.tags[0].name`, as text; objects and arrays as JSON. NULL if there is none, if it is null, or if the text is not JSON.",
        example: (r#"json_get("{\"user\": {\"name\": \"Ann\"}}", "user.name")"#, r#""Ann""#),
        build: |arguments| udf::json_get(JsonType::String, arguments),
    },
    Function {
        name: "json_get_long",
        group: Group::Json,
        parameters: &[parameter("text", Accepts::String), PATH],
        returns: long,
        summary: "The whole number at a path, also one in quotes. NULL if there is none.",
        example: (r#"json_get_long("{\"ids\": [7, 8]}", "ids[1]")"#, "8"),
        build: |arguments| udf::json_get(JsonType::Long, arguments),
    },
    Function {
        name: "json_get_double",
        group: Group::Json,
        parameters: &[parameter("text", Accepts::String), PATH],
        returns: double,
        summary: "The number at a path, also one in quotes. NULL if there is none.",
        example: (r#"json_get_double("{\"price\": 9.5}", "$.price")"#, "9.5"),
        build: |arguments| udf::json_get(JsonType::Double, arguments),
    },
    Function {
        name: "json_get_boolean",
        group: Group::Json,
        parameters: &[parameter("text", Accepts::String), PATH],
        returns: boolean,
        summary: "The `true` or `false` at a path, also in quotes. NULL if there is none.",
        example: (r#"json_get_boolean("{\"ok\": true}", "ok")"#, "true"),
        build: |arguments| udf::json_get(JsonType::Boolean, arguments),
    },
];
