//! `preload:` of a mount — what is read first of a volume that its snapshot is loaded into lazily.
//!
//! ```yaml
//! mounts:
//!   /srv/shop:
//!     device: "{{volumes.data.device}}"
//!     preload: [db, "index/*.idx"]                  # directories, files and patterns, relative to the mount; or in full:
//!     preload:
//!       paths: [db]
//!       list: /etc/ingot/preload/shop.list          # made by `ingot record-preload`: one path a line, relative to the mount
//!       into_cache: true                         # what is read stays in memory. Default: false
//!       in_flight: 64                            # reads at the same time. Default: 64
//!       rest_mib_s: 100                          # then the rest of the device, at this rate. Default: not at all
//! ```
//!
//! A mount brings the steps `preload./srv/shop`, the paths, and `preload./srv/shop:rest`, the rest. The boot does not wait for
//! them; a service does that says `after: [preload./srv/shop]`. Each is done once for a volume and the paths that are given, and once a
//! boot where it is to fill the cache. How the reading is done is the business of [`host::reading`](crate::host::reading).

mod paths;
mod rest;

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use schemars::{JsonSchema, json_schema};
use serde::Deserialize;

use self::paths::PreloadPaths;
use self::rest::PreloadRest;
use crate::address::Address;
use crate::failure::{Failure, Objection};
use crate::host::HostError;
use crate::host::disks::{Device, Disk, Origin};
use crate::host::mounts::{self, Mounted};
use crate::host::reading::WasRead;
use crate::host::state::{Entry, EntryState};
use crate::step::amount::Gauge;
use crate::step::fields::OrMap;
use crate::step::{Companion, Context, Progress};
use crate::template::TemplateError;
use crate::text::Text;

/// Enough to hide the latency of a block that is fetched from a snapshot, tens of milliseconds, behind a rate of
/// hundreds of MiB a second.
const IN_FLIGHT: u16 = 64;

/// Each read in flight has a thread.
const MOST_IN_FLIGHT: u16 = 1024;

/// A volume of 16 TiB at 32 MiB/s. Nobody waits for the end of that by mistake: the boot has a deadline of its own.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is to be read of a mount.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "OrMap<Vec<Text>, Fields>")]
pub(crate) struct Preload {
    paths: Vec<Text>,
    list: Option<PathBuf>,
    into_cache: bool,
    in_flight: u16,
    rest_mib_s: Option<u64>,
}

/// The steps that a mount with the key `mount` brings.
pub(crate) fn companions(preload: &Preload, mount: &str) -> Vec<Companion> {
    let preload = Rc::new(preload.clone());
    let address = Address::new("preload", mount);
    let mut companions = Vec::new();
    let paths = !preload.paths.is_empty() || preload.list.is_some();
    if paths {
        let step = PreloadPaths { mount: mount.into(), preload: preload.clone() };
        companions.push(Companion { address: address.clone(), step: Box::new(step), required: false });
    }
    if let Some(mib_s) = preload.rest_mib_s {
        let step = PreloadRest { mount: mount.into(), in_flight: preload.in_flight, mib_s, paths: paths.then_some(address) };
        let address = Address::new("preload", &format!("{mount}:rest"));
        companions.push(Companion { address, step: Box::new(step), required: false });
    }
    companions
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

/// A mount as it was found, and the device that it shows.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    /// Where the extents of its files lie. `None` where there is no such device, or files do not lie on it as they are.
    device: Option<Device>,
    /// The same for the same volume, in whatever order the kernel found it. Without white space.
    identity: String,
}

/// Filesystems whose files lie in extents of the one device they are on. btrfs has addresses of its own.
const PLAIN: [&str; 4] = ["ext2", "ext3", "ext4", "xfs"];

async fn shown(mount: &Path, cx: &Context<'_>) -> Result<Shown, PreloadError> {
    let host = cx.host();
    let table = host.mounts.table().await.map_err(PreloadError::Host)?;
    let Some(mounted) = mounts::seen(&table, mount, &*host.files).await.map_err(PreloadError::Host)? else {
        return Err(PreloadError::NotMounted { mount: mount.to_owned() });
    };
    let node = PathBuf::from(&mounted.source);
    let behind = if node.is_absolute() { host.disks.behind(&node).await.map_err(PreloadError::Host)? } else { None };
    let plain = mounted.device.major != 0 && PLAIN.contains(&mounted.filesystem.as_str());
    let device = plain.then_some(Device { node, number: mounted.device, volume: None, partition: None });
    Ok(Shown { device, identity: identity(mounted, behind.as_ref()) })
}

fn identity(mounted: &Mounted, behind: Option<&(Disk, Option<u32>)>) -> String {
    let name = match behind {
        None => mounted.source.clone(),
        Some((disk, partition)) => {
            let disk = match (&disk.origin, &disk.attached_as) {
                (Origin::Volume(id), _) => id.clone(),
                (Origin::InstanceStore(Some(number)), _) => format!("instance_store:{number}"),
                (_, Some(name)) => name.clone(),
                (_, None) => disk.node.display().to_string(),
            };
            partition.map_or(disk.clone(), |number| format!("{disk}:{number}"))
        }
    };
    name.split_whitespace().collect::<Vec<_>>().join("_")
}

/// What is remembered of a preloading.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Done {
    identity: String,
    /// Stands for what was meant to be read.
    meant: String,
    files: u64,
    bytes: u64,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files={} bytes={} meant={}", self.identity, self.files, self.bytes, self.meant)
    }
}

impl Done {
    fn parse(detail: &str) -> Option<Self> {
        let mut words = detail.split(' ');
        let identity = words.next()?.to_owned();
        let mut field = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let (files, bytes) = (field("files")?.parse().ok()?, field("bytes")?.parse().ok()?);
        Some(Self { identity, files, bytes, meant: field("meant")?.to_owned() })
    }

    /// That the reading of `meant` has not ended yet.
    fn not_yet(identity: String, meant: String) -> Self {
        Self { identity, meant, files: 0, bytes: 0 }
    }

    /// What a record says that is done, if it still holds.
    fn recorded(entry: Option<&Entry>, identity: &str, meant: &str, in_boot: Option<&str>) -> Option<Self> {
        let entry = entry.filter(|entry| entry.state == EntryState::Done)?;
        let done = Self::parse(entry.detail.as_deref()?)?;
        // Without /proc nobody knows which boot this is.
        let still = in_boot.is_none_or(|boot| entry.boot_id == boot && !boot.is_empty());
        (still && done.identity == identity && done.meant == meant).then_some(done)
    }
}

async fn record(state: EntryState, done: &Done, cx: &Context<'_>) -> Result<(), PreloadError> {
    let at = cx.host().clock.now().to_string();
    let entry = Entry { state, boot_id: cx.world.boot_id.clone(), at, detail: Some(done.to_string()) };
    let record = cx.world.record.apart(cx.address.as_str()).await.map_err(PreloadError::Host)?;
    record.put(cx.address.as_str(), entry).await.map_err(PreloadError::Host)
}

async fn recorded(cx: &Context<'_>) -> Result<Option<Entry>, PreloadError> {
    let record = cx.world.record.apart(cx.address.as_str()).await.map_err(PreloadError::Host)?;
    Ok(record.get(cx.address.as_str()))
}

/// Whether another process is at it.
fn is_taken(cx: &Context<'_>) -> Result<bool, PreloadError> {
    let holder = cx.host().reading.claimed(cx.address.as_str()).map_err(PreloadError::Host)?;
    if let Some(holder) = &holder {
        let who = holder.pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
        cx.progress(Progress::Warning(format!("another ingot{who} reads it already")));
    }
    Ok(holder.is_some())
}

fn advanced(gauge: &RefCell<Gauge>, bytes: u64, of: u64, cx: &Context<'_>) {
    if let Some(amount) = gauge.borrow_mut().note(cx.host().clock.elapsed(), bytes, of) {
        cx.progress(Progress::Advanced(amount));
    }
}

/// Some reads may fail: those who need what was to be read will find out what it means to them.
fn failures(read: &WasRead, cx: &Context<'_>) -> Result<(), PreloadError> {
    let Some(first) = &read.first_failure else { return Ok(()) };
    if read.bytes == 0 {
        return Err(PreloadError::AllFailed { failed: read.failed, first: first.clone() });
    }
    cx.progress(Progress::Warning(format!("{} reads failed, the first one: {first}", read.failed)));
    Ok(())
}

/// Why a volume was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PreloadError {
    #[error("nothing is mounted at {}", mount.display())]
    NotMounted { mount: PathBuf },
    #[error("cannot fill in a path")]
    Render(#[source] TemplateError),
    #[error("`{path}` is no path or pattern below {}: {why}", mount.display())]
    Path { path: String, mount: PathBuf, why: String },
    #[error("all {failed} reads failed: {first}")]
    AllFailed { failed: u64, first: String },
    #[error(transparent)]
    Host(HostError),
}

impl Failure for PreloadError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotMounted { mount } => Some(format!("see with `ingot status` why mounts.{} was not mounted", mount.display())),
            Self::Render(source) => source.hint(),
            Self::Path { mount, .. } => Some(format!("write it relative to {}", mount.display())),
            Self::AllFailed { .. } => Some("see `journalctl -k` for what the disk said".into()),
            Self::Host(source) => source.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(fields: serde_json::Value) -> Result<Preload, String> {
        serde_json::from_value(fields).map_err(|error| error.to_string())
    }

    #[test]
    fn is_a_list_or_a_map() {
        let list = read(json!(["db", "index/*.idx"])).unwrap();
        assert_eq!((list.paths.len(), list.in_flight, list.into_cache, list.rest_mib_s), (2, 64, false, None));
        let map = read(json!({ "paths": ["db"], "list": "/x", "into_cache": true, "in_flight": 8, "rest_mib_s": 100 })).unwrap();
        assert_eq!((map.paths.len(), map.in_flight, map.into_cache, map.rest_mib_s), (1, 8, true, Some(100)));
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        for fields in [json!([]), json!({}), json!({ "in_flight": 8 }), json!("db"), json!({ "path": ["db"] })] {
            assert!(read(fields.clone()).is_err(), "{fields}");
        }
        for (field, wrong) in [("in_flight", json!(0)), ("in_flight", json!(1025)), ("rest_mib_s", json!(0)), ("rest_mib_s", json!(-1))] {
            assert!(read(json!({ "paths": ["db"], field: wrong })).unwrap_err().contains(field), "{field} {wrong}");
        }
    }

    #[test]
    fn brings_the_paths_and_the_rest() {
        let addresses = |fields| {
            let companions = companions(&read(fields).unwrap(), "/srv/shop");
            companions.into_iter().map(|companion| companion.address.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(addresses(json!(["db"])), ["preload./srv/shop"]);
        assert_eq!(addresses(json!({ "rest_mib_s": 100 })), ["preload./srv/shop:rest"]);
        assert_eq!(addresses(json!({ "list": "/x", "rest_mib_s": 100 })), ["preload./srv/shop", "preload./srv/shop:rest"]);
    }

    #[test]
    fn is_due_again_for_another_volume_and_where_it_was_cut_off() {
        let done = Done { files: 7, bytes: 9, ..Done::not_yet("vol-1:1".into(), "db".into()) };
        let entry = |state, detail: &str| Entry { state, boot_id: "b".into(), at: String::new(), detail: Some(detail.into()) };
        let recorded = entry(EntryState::Done, &done.to_string());
        assert_eq!(Done::recorded(Some(&recorded), "vol-1:1", "db", None), Some(done.clone()));
        assert_eq!(Done::recorded(Some(&recorded), "vol-1:1", "db", Some("b")), Some(done.clone()));
        assert_eq!(Done::recorded(Some(&recorded), "vol-1:1", "db", Some("c")), None);
        assert_eq!(Done::recorded(Some(&recorded), "vol-1:1", "index", None), None);
        assert_eq!(Done::recorded(Some(&recorded), "vol-2:1", "db", None), None);
        assert_eq!(Done::recorded(Some(&entry(EntryState::Started, &done.to_string())), "vol-1:1", "db", None), None);
        assert_eq!(Done::recorded(Some(&entry(EntryState::Done, "what is this")), "what", "", None), None);
        assert_eq!(Done::recorded(None, "vol-1:1", "db", None), None);
    }
}
