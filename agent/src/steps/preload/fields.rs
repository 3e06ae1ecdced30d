//! The fields of a preload.

use std::path::PathBuf;

use schemars::{JsonSchema, json_schema};
use serde::Deserialize;

use crate::failure::Objection;
use crate::step::fields::OrMap;
use crate::text::Text;

/// Enough parallel reads to hide the latency of fetching a block from a snapshot, tens of milliseconds, at a rate of
/// hundreds of MiB per second.
const IN_FLIGHT: u16 = 64;

/// The limit exists because each parallel read has a thread.
const MOST_IN_FLIGHT: u16 = 1024;

/// What to read from a mount.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "OrMap<Vec<Text>, Fields>")]
pub(crate) struct Preload {
    pub(super) paths: Vec<Text>,
    pub(super) list: Option<PathBuf>,
    pub(super) into_cache: bool,
    pub(super) in_flight: u16,
    pub(super) rest_mib_s: Option<u64>,
}

impl JsonSchema for Preload {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Preload".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut paths = Vec::<Text>::json_schema(generator);
        paths.insert("minItems".into(), 1.into());
        json_schema!({
            "description": "What to read ahead: directories, files and patterns, relative to the mount.",
            "anyOf": [paths, Fields::json_schema(generator)],
        })
    }
}

/// What is read first, and how.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [
    {"required": ["paths"], "properties": {"paths": {"minItems": 1}}}, {"required": ["list"]}, {"required": ["rest_mib_s"]},
]))]
struct Fields {
    /// Directories, files and patterns, relative to the mount; `*`, `?`, `[…]` and `**` are wildcards.
    #[serde(default)]
    paths: Vec<Text>,
    /// File with one path per line, relative to the mount, as `ingot record-preload` creates it.
    list: Option<PathBuf>,
    /// Whether what is read stays in the page cache. It is then read once a boot. Default: false.
    #[serde(default)]
    into_cache: bool,
    /// Number of reads at the same time. Default: 64.
    #[schemars(range(min = 1, max = 1024))]
    in_flight: Option<i64>,
    /// Rate in MiB/s at which the rest of the device is read afterwards. Default: it is not read.
    #[schemars(range(min = 1))]
    rest_mib_s: Option<i64>,
}

impl TryFrom<OrMap<Vec<Text>, Fields>> for Preload {
    type Error = Objection;

    fn try_from(written: OrMap<Vec<Text>, Fields>) -> Result<Self, Objection> {
        let fields = match written {
            OrMap::Plain(paths) => Fields { paths, ..Fields::default() },
            OrMap::Map(fields) => fields,
        };
        let Fields { paths, list, into_cache, in_flight, rest_mib_s } = fields;
        if paths.is_empty() && list.is_none() && rest_mib_s.is_none() {
            return Err(Objection::new("this names nothing to read", "give `paths`, a `list` or `rest_mib_s`, or leave `preload` out"));
        }
        let in_flight = match in_flight.map(u16::try_from) {
            None => IN_FLIGHT,
            Some(Ok(number @ 1..=MOST_IN_FLIGHT)) => number,
            Some(_) => {
                return Err(Objection::new(
                    format!("`in_flight` is a number from 1 to {MOST_IN_FLIGHT}"),
                    "64 is what hides the latency of a snapshot",
                ));
            }
        };
        let rest_mib_s = match rest_mib_s.map(u64::try_from) {
            None => None,
            Some(Ok(rate @ 1..)) => Some(rate),
            Some(_) => {
                return Err(Objection::new(
                    "`rest_mib_s` is a rate in MiB a second, 1 at the least",
                    "leave it out to read no more than the paths",
                ));
            }
        };
        Ok(Self { paths, list, into_cache, in_flight, rest_mib_s })
    }
}
