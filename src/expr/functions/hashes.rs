//! Checksums. Text counts as its UTF-8 bytes.
//! They are fit to compare and to spread values, not to keep secrets.

use datafusion::functions::crypto::expr_fn;

use super::{long, string, take};
use crate::expr::function::{Accepts, Function, Group, parameter, repeated};
use crate::expr::udf;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "md5",
        group: Group::Hashes,
        parameters: &[parameter("value", Accepts::Bytes)],
        returns: string,
        summary: "The MD5 checksum, as 32 lower-case hexadecimal digits.",
        example: (r#"md5("abc")"#, r#""900150983cd24fb0d6963f7d28e17f72""#),
        build: |arguments| {
            let [value] = take(arguments);
            expr_fn::md5(value)
        },
    },
    Function {
        name: "sha256",
        group: Group::Hashes,
        parameters: &[parameter("value", Accepts::Bytes)],
        returns: string,
        summary: "The SHA-256 checksum, as 64 lower-case hexadecimal digits.",
        example: (r#"sha256("abc")"#, r#""ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#),
        build: |arguments| {
            let [value] = take(arguments);
            udf::hex(expr_fn::sha256(value))
        },
    },
    Function {
        name: "hash",
        group: Group::Hashes,
        parameters: &[repeated("values", Accepts::Any)],
        returns: long,
        summary: r#"One number for all values, the same in every run and on every machine. NULL is a value like others. It depends on the values' texts alone: `7` and `"7"` give the same."#,
        example: (r#"hash("abc", 7)"#, "7058405924264592438"),
        build: udf::hash,
    },
];
