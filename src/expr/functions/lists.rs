//! Functions of lists and maps. Positions count from 1, and from the end if they are negative.
//! The result is NULL if the list or map is.

use datafusion::functions_nested::expr_fn;
use datafusion::logical_expr::lit;

use super::{boolean, first, int, take};
use crate::expr::function::{Accepts, Function, Group, parameter, repeated};
use crate::expr::udf;
use crate::schema::ColumnType;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "list",
        group: Group::Lists,
        parameters: &[repeated("values", Accepts::Same)],
        returns: of_first,
        summary: "A list of the values.",
        example: ("list(1, 2, 3)", "[1,2,3]"),
        build: expr_fn::make_array,
    },
    Function {
        name: "size",
        group: Group::Lists,
        parameters: &[parameter("list", Accepts::List)],
        returns: int,
        summary: "The number of elements.",
        example: ("size(list(1, 2))", "2"),
        build: |arguments| {
            let [list] = take(arguments);
            udf::size(list)
        },
    },
    Function {
        name: "element_at",
        group: Group::Lists,
        parameters: &[parameter("list", Accepts::List), parameter("position", Accepts::Integer)],
        returns: element,
        summary: "The element at a position. The first is at 1, the last at -1. NULL if there is none.",
        example: (r#"element_at(list("a", "b"), 2)"#, r#""b""#),
        build: |arguments| {
            let [list, position] = take(arguments);
            udf::element_at(list, position)
        },
    },
    Function {
        name: "list_contains",
        group: Group::Lists,
        parameters: &[parameter("list", Accepts::List), parameter("value", Accepts::Any)],
        returns: boolean,
        summary: "Whether a value is an element of the list.",
        example: ("list_contains(list(1, 2), 2)", "true"),
        build: |arguments| {
            let [list, value] = take(arguments);
            expr_fn::array_has(list, value)
        },
    },
    Function {
        name: "slice",
        group: Group::Lists,
        parameters: &[
            parameter("list", Accepts::List),
            parameter("start", Accepts::Integer),
            parameter("length", Accepts::Integer),
        ],
        returns: first,
        summary: "So many elements from a position on. The first is at 1, the last at -1. NULL for the start 0 or a negative length.",
        example: (r#"slice(list("a", "b", "c"), 2, 2)"#, r#"["b","c"]"#),
        build: |arguments| {
            let [list, start, length] = take(arguments);
            udf::slice(list, start, length)
        },
    },
    Function {
        name: "list_distinct",
        group: Group::Lists,
        parameters: &[parameter("list", Accepts::List)],
        returns: first,
        summary: "The list without the elements that occurred before.",
        example: ("list_distinct(list(1, 2, 1))", "[1,2]"),
        build: |arguments| {
            let [list] = take(arguments);
            expr_fn::array_distinct(list)
        },
    },
    Function {
        name: "list_sort",
        group: Group::Lists,
        parameters: &[parameter("list", Accepts::List)],
        returns: first,
        summary: "The elements in ascending order, NULL last.",
        example: ("list_sort(list(3, 1, 2))", "[1,2,3]"),
        build: |arguments| {
            let [list] = take(arguments);
            expr_fn::array_sort(list, lit("ASC"), lit("NULLS LAST"))
        },
    },
    Function {
        name: "flatten",
        group: Group::Lists,
        parameters: &[parameter("list", Accepts::List)],
        returns: flattened,
        summary: "The elements of all lists in a list, as one list. Other lists stay as they are.",
        example: ("flatten(list(list(1), list(2, 3)))", "[1,2,3]"),
        build: |arguments| {
            let [list] = take(arguments);
            expr_fn::flatten(list)
        },
    },
    Function {
        name: "sequence",
        group: Group::Lists,
        parameters: &[parameter("start", Accepts::Integer), parameter("stop", Accepts::Integer)],
        returns: longs,
        summary: "The whole numbers from start to stop, both included; downwards if stop is smaller. NULL for more than a million.",
        example: ("sequence(1, 3)", "[1,2,3]"),
        build: |arguments| {
            let [start, stop] = take(arguments);
            udf::sequence(start, stop)
        },
    },
    Function {
        name: "map",
        group: Group::Lists,
        parameters: &[parameter("keys", Accepts::List), parameter("values", Accepts::List)],
        returns: map_type,
        summary: "A map of a list of keys and a list of their values. Of equal keys the last one counts, NULL is no key. NULL if the lists differ in length.",
        example: (r#"map(list("a", "b"), list(1, 2))"#, r#"{"a":1,"b":2}"#),
        build: |arguments| {
            let [keys, values] = take(arguments);
            udf::map(keys, values)
        },
    },
    Function {
        name: "map_get",
        group: Group::Lists,
        parameters: &[parameter("map", Accepts::Map), parameter("key", Accepts::Any)],
        returns: map_value,
        summary: "The value of a key. NULL if the map does not have the key.",
        example: (r#"map_get(map(list("a", "b"), list(1, 2)), "b")"#, "2"),
        build: |arguments| {
            let [map, key] = take(arguments);
            udf::element_at(expr_fn::map_extract(map, key), lit(1_i64))
        },
    },
    Function {
        name: "map_keys",
        group: Group::Lists,
        parameters: &[parameter("map", Accepts::Map)],
        returns: map_keys,
        summary: "The keys of a map.",
        example: (r#"map_keys(map(list("a", "b"), list(1, 2)))"#, r#"["a","b"]"#),
        build: |arguments| {
            let [map] = take(arguments);
            expr_fn::map_keys(map)
        },
    },
    Function {
        name: "map_values",
        group: Group::Lists,
        parameters: &[parameter("map", Accepts::Map)],
        returns: map_values,
        summary: "The values of a map, in the order of its keys.",
        example: (r#"map_values(map(list("a", "b"), list(1, 2)))"#, "[1,2]"),
        build: |arguments| {
            let [map] = take(arguments);
            expr_fn::map_values(map)
        },
    },
];

fn of_first(types: &[ColumnType]) -> ColumnType {
    first(types).list_of()
}

fn longs(_: &[ColumnType]) -> ColumnType {
    ColumnType::Long.list_of()
}

fn element(types: &[ColumnType]) -> ColumnType {
    match types.first() {
        Some(ColumnType::List(element)) => (**element).clone(),
        _ => ColumnType::Null,
    }
}

fn flattened(types: &[ColumnType]) -> ColumnType {
    match types.first() {
        Some(ColumnType::List(element)) if matches!(**element, ColumnType::List(_)) => (**element).clone(),
        _ => first(types),
    }
}

fn map_type(types: &[ColumnType]) -> ColumnType {
    match types {
        [ColumnType::List(keys), ColumnType::List(values)] => ColumnType::Map(keys.clone(), values.clone()),
        _ => ColumnType::Null,
    }
}

fn map_keys(types: &[ColumnType]) -> ColumnType {
    match types.first() {
        Some(ColumnType::Map(key, _)) => ColumnType::List(key.clone()),
        _ => ColumnType::Null,
    }
}

fn map_values(types: &[ColumnType]) -> ColumnType {
    match types.first() {
        Some(ColumnType::Map(_, value)) => ColumnType::List(value.clone()),
        _ => ColumnType::Null,
    }
}

fn map_value(types: &[ColumnType]) -> ColumnType {
    match types.first() {
        Some(ColumnType::Map(_, value)) => (**value).clone(),
        _ => ColumnType::Null,
    }
}
