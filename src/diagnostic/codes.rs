//! The stable codes of findings. `streamrun explain CODE` prints a code's page; `docs/errors/` is
//! written from the same text. A code is never given a second meaning; one that is no longer
//! needed is left unused.

use super::Severity;

/// A code with its page.
#[derive(Debug)]
pub struct CodePage {
    /// `SR` and four digits.
    pub name: &'static str,
    /// What is wrong, as a heading.
    pub title: &'static str,
    /// The severity its findings have.
    pub severity: Severity,
    /// Why it is a finding, what to do, and an example: Markdown without the heading.
    pub page: &'static str,
}

/// A finding's code: one of the constants of this module.
#[derive(Clone, Copy, Debug)]
pub struct Code(&'static CodePage);

impl Code {
    /// `SR` and four digits.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The heading of its page.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.0.title
    }

    /// The severity its findings have by default.
    #[must_use]
    pub fn severity(self) -> Severity {
        self.0.severity
    }

    /// The whole page as Markdown.
    #[must_use]
    pub fn page(self) -> String {
        format!("# {}: {}\n\n{}\n", self.0.name, self.0.title, self.0.page.trim())
    }

    /// The code of that name, in upper or lower case.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|code| code.name().eq_ignore_ascii_case(name))
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

macro_rules! codes {
    ($($constant:ident $name:literal $severity:ident $title:literal;)+) => {
        $(
            #[doc = $title]
            pub const $constant: Code = Code(&CodePage {
                name: $name,
                title: $title,
                severity: Severity::$severity,
                page: include_str!(concat!("pages/", $name, ".md")),
            });
        )+
        /// Every code, in order.
        pub const ALL: &[Code] = &[$($constant),+];
    };
}

codes! {
    // 01xx: the file and its YAML
    UNREADABLE_FILE "SR0101" Error "The file cannot be read";
    NOT_YAML "SR0102" Error "The file is not valid YAML";
    FILE_TOO_LARGE "SR0103" Error "The file is too large or too deeply nested";
    DUPLICATE_KEY "SR0104" Error "A key is there twice";
    SEVERAL_DOCUMENTS "SR0105" Error "The file holds no pipeline or more than one document";
    UNKNOWN_VARIABLE "SR0106" Error "A `${...}` cannot be filled in";
    BAD_INTERPOLATION "SR0107" Error "A `${...}` is not understood";
    UNRESOLVED_ALIAS "SR0108" Error "A YAML alias, merge key or tag cannot be used";
    CUT_VALUE "SR0109" Error "A value was cut off by YAML's flow syntax";
    // 02xx: keys and values
    UNKNOWN_KEY "SR0201" Error "A key is not known here";
    MISSING_KEY "SR0202" Error "A key is missing";
    WRONG_TYPE "SR0203" Error "A value has the wrong type";
    INVALID_VALUE "SR0204" Error "A value is not allowed";
    UNKNOWN_KIND "SR0205" Error "No such source, step, sink or format";
    NO_KIND "SR0206" Error "A component must name exactly one kind";
    BAD_DURATION "SR0207" Error "A duration or a size is not understood";
    BAD_TYPE "SR0208" Error "A column type is not understood";
    CONFLICTING_KEYS "SR0209" Error "Two keys exclude each other";
    // 03xx: wiring
    UNKNOWN_STREAM "SR0301" Error "No source or stream of that name";
    MISSING_FROM "SR0302" Error "It is not clear what is read";
    CYCLE "SR0303" Error "Streams read each other in a circle";
    UNUSED_STREAM "SR0304" Warning "A source or stream is not used";
    DUPLICATE_NAME "SR0305" Error "A name is there twice";
    // 04xx: expressions
    BAD_EXPRESSION "SR0401" Error "An expression is not understood";
    UNKNOWN_FUNCTION "SR0402" Error "No such function";
    WRONG_ARGUMENTS "SR0403" Error "A function is called with the wrong arguments";
    TYPE_MISMATCH "SR0404" Error "Types do not fit";
    MISPLACED_AGGREGATE "SR0405" Error "An aggregate stands where rows are not grouped, or is missing";
    EXPRESSION_TOO_LARGE "SR0406" Error "An expression is too large";
    BAD_SQL "SR0407" Error "A SQL statement is not understood";
    // 05xx: columns and schemas
    UNKNOWN_COLUMN "SR0501" Error "No such column";
    DUPLICATE_COLUMN "SR0502" Error "A column is there twice";
    SCHEMA_MISMATCH "SR0503" Error "Streams do not have the columns that are needed";
    BAD_SCHEMA_FILE "SR0504" Error "A schema file cannot be used";
    // 06xx: time and resources
    NOT_A_MULTIPLE "SR0601" Error "A duration is not a multiple of the batch interval";
    COLLISION "SR0602" Error "Two components want the same port or path";
    FEEDBACK_LOOP "SR0603" Warning "A sink writes where a source reads";
    DIFFERENT_SLIDES "SR0604" Error "Streams with different slides are read together";
    STRONG_CLAIM "SR0605" Error "The pipeline does not deliver what it claims";
    // 07xx: test files
    UNKNOWN_PIPELINE "SR0701" Error "The pipeline under test cannot be used";
    BAD_TEST_ROW "SR0702" Error "A row of a test does not fit";
}
