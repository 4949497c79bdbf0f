//! Functions under the names that they have elsewhere (evalexpr, SQL, Spark), for "did you mean".

use crate::diagnostic::suggest;
use crate::expr::function::{Parameter, signature};
use crate::expr::{aggregates, functions};

/// A function of ours, and what it or something near it is called elsewhere. evalexpr's prefixes
/// (`math::`, `str::`) are left out.
const NAMES: &[(&str, &[&str])] = &[
    ("trim", &["btrim", "strip"]),
    ("trim_start", &["ltrim"]),
    ("trim_end", &["rtrim"]),
    ("lower", &["lcase", "to_lowercase", "lowercase", "to_lower", "tolower"]),
    ("upper", &["ucase", "to_uppercase", "uppercase", "to_upper", "toupper"]),
    ("length", &["len", "char_length", "character_length"]),
    ("substring", &["substr", "mid"]),
    ("index_of", &["instr", "locate", "position", "strpos", "charindex"]),
    ("starts_with", &["like"]),
    ("contains", &["like", "contains_any"]),
    ("split", &["string_split", "string_to_array"]),
    ("join", &["concat_ws", "array_join", "array_to_string", "string_agg"]),
    ("format", &["format_string", "printf", "sprintf"]),
    ("regex_match", &["rlike", "regexp", "regexp_like", "regexp_match", "regex_matches", "like"]),
    ("regex_extract", &["regexp_extract", "regexp_substr"]),
    ("regex_extract_all", &["regexp_extract_all"]),
    ("regex_replace", &["regexp_replace"]),
    ("ceil", &["ceiling"]),
    ("truncate", &["date_trunc", "trunc"]),
    ("to_long", &["trunc", "int", "bigint", "long", "integer", "to_int", "to_number"]),
    ("to_double", &["float", "double", "to_float", "to_number"]),
    ("to_string", &["str", "string", "from", "to_json", "to_varchar"]),
    ("to_boolean", &["bool", "boolean", "to_bool"]),
    ("sign", &["signum"]),
    ("power", &["pow"]),
    ("ln", &["log"]),
    ("log10", &["log"]),
    ("if", &["iff", "iif", "case", "nvl2"]),
    ("coalesce", &["nvl", "ifnull"]),
    ("is_null", &["isnull"]),
    ("is_not_null", &["isnotnull"]),
    ("null_if", &["nullif"]),
    ("parse_timestamp", &["to_timestamp", "timestamp"]),
    ("parse_date", &["to_date"]),
    ("date", &["to_date"]),
    ("format_timestamp", &["date_format", "to_char", "strftime"]),
    ("add_days", &["date_add", "date_sub", "dateadd"]),
    ("seconds_between", &["datediff", "date_diff", "timestampdiff"]),
    ("to_unix_seconds", &["unix_timestamp", "unix_seconds", "to_unixtime", "to_unix_timestamp"]),
    ("to_unix_millis", &["unix_millis"]),
    ("from_unix_seconds", &["from_unixtime", "timestamp_seconds", "to_timestamp"]),
    ("from_unix_millis", &["timestamp_millis", "to_timestamp_millis"]),
    ("day", &["dayofmonth", "day_of_month"]),
    ("day_of_week", &["weekday", "dow", "dayofweek_iso"]),
    ("list", &["array", "make_array"]),
    ("size", &["len", "cardinality", "array_length", "array_size"]),
    ("element_at", &["get", "array_element"]),
    ("list_contains", &["array_contains", "array_has", "in"]),
    ("list_distinct", &["array_distinct"]),
    ("list_sort", &["array_sort", "sort_array"]),
    ("slice", &["array_slice"]),
    ("sequence", &["generate_series", "range"]),
    ("map", &["map_from_arrays", "make_map", "create_map"]),
    ("map_get", &["map_extract"]),
    ("json_get", &["get_json_object", "json_extract", "json_value", "json_extract_scalar", "json_query"]),
    ("sha256", &["sha2", "sha"]),
    ("hash", &["xxhash64", "crc32", "murmur_hash"]),
    ("avg", &["mean", "average"]),
    ("percentile", &["median", "approx_percentile", "percentile_approx", "percentile_cont", "quantile"]),
    ("count_distinct", &["approx_count_distinct", "approx_distinct"]),
    ("stddev", &["stddev_samp", "std"]),
    ("first", &["first_value", "any_value"]),
    ("last", &["last_value"]),
    ("collect_list", &["array_agg", "listagg", "group_concat"]),
];

/// What one function does elsewhere, and several, an operator or a step do here.
const OTHERS: &[(&str, &str)] = &[
    ("date_part", "`year(at)`, `month(at)`, `hour(at)` and so on take a timestamp apart"),
    ("extract", "`year(at)`, `month(at)`, `hour(at)` and so on take a timestamp apart"),
    ("split_part", "`element_at(split(text, separator), n)` is the n-th piece"),
    ("mod", "the rest of a division is `a % b`"),
    ("not", "the opposite of a condition is `!x`"),
    ("cast", "`to_string(x)`, `to_long(x)` and `to_double(x)` change a type, and so does a `cast` step"),
    ("explode", "`flat_map` and `explode` are steps: they make a row of each element of a list"),
    ("unnest", "`flat_map` and `explode` are steps: they make a row of each element of a list"),
];

/// What to do about a function that is not there.
pub(in crate::expr) fn help(name: &str) -> String {
    let plain = name.rsplit("::").next().unwrap_or(name);
    let same = |other: &&str| other.eq_ignore_ascii_case(plain);
    if let Some((_, help)) = OTHERS.iter().find(|(other, _)| same(other)) {
        return (*help).to_owned();
    }
    let ours = NAMES.iter().filter(|(_, theirs)| theirs.iter().any(same)).map(|(ours, _)| *ours);
    let meant: Vec<String> = ours.filter_map(written).map(|it| format!("`{it}`")).collect();
    if !meant.is_empty() {
        return format!("did you mean {}?", meant.join(" or "));
    }
    let names = functions::all().map(|it| it.name).chain(aggregates::all().map(|it| it.name));
    suggest::nearest(plain, names).map_or_else(
        || "`streamrun list functions` shows all of them".to_owned(),
        |nearest| format!("did you mean `{nearest}`?"),
    )
}

/// How a function or an aggregate of ours is written.
fn written(name: &str) -> Option<String> {
    let parameters: &[Parameter] = match functions::find(name) {
        Some(function) => function.parameters,
        None => aggregates::find(name)?.parameters,
    };
    Some(signature(name, parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_leads_from_names_that_are_not_ours_to_names_that_are() {
        let known = |name: &str| functions::find(name).is_some() || aggregates::find(name).is_some();
        for (ours, theirs) in NAMES {
            assert!(known(ours), "`{ours}` is no function");
            for name in *theirs {
                assert!(!known(name), "`{name}` is a function of ours");
            }
        }
        for (name, _) in OTHERS {
            assert!(!known(name), "`{name}` is a function of ours");
        }
    }

    #[test]
    fn foreign_names_and_slips() {
        for (name, expected) in [
            ("trunc", "did you mean `truncate(at, unit)` or `to_long(value)`?"),
            ("date_trunc", "did you mean `truncate(at, unit)`?"),
            ("math::abs", "did you mean `abs`?"),
            ("math::pow", "did you mean `power(base, exponent)`?"),
            ("str::to_lowercase", "did you mean `lower(text)`?"),
            ("str::trim", "did you mean `trim`?"),
            ("len", "did you mean `length(text)` or `size(list)`?"),
            ("SUBSTR", "did you mean `substring(text, start, length?)`?"),
            ("nvl", "did you mean `coalesce(values, ...)`?"),
            ("ifnull", "did you mean `coalesce(values, ...)`?"),
            ("to_date", "did you mean `parse_date(text, format?)` or `date(at)`?"),
            ("regexp_extract", "did you mean `regex_extract(text, pattern, group?)`?"),
            ("rlike", "did you mean `regex_match(text, pattern)`?"),
            ("mean", "did you mean `avg(x)`?"),
            ("mod", "the rest of a division is `a % b`"),
            ("lowr", "did you mean `lower`?"),
            ("frobnicate", "`streamrun list functions` shows all of them"),
        ] {
            assert_eq!(help(name), expected, "{name}");
        }
    }
}
