//! `preload:` of a mount — what to read first from a volume that is loaded lazily from its snapshot.
//!
//! ```yaml
//! mounts:
//!   /srv/shop:
//!     device: "{{volumes.data.device}}"
//!     preload: [db, "index/*.idx"]                  # directories, files, patterns, relative to the mount; long form:
//!     preload:
//!       paths: [db]
//!       list: /etc/ingot/preload/shop.list          # created by `ingot record-preload`: one path per line, as above
//!       into_cache: true                         # what is read stays in memory. Default: false
//!       in_flight: 64                            # number of parallel reads. Default: 64
//!       rest_mib_s: 100                          # then read the rest of the device at this rate. Default: not at all
//! ```
//!
//! A mount adds the steps `preload./srv/shop` for the paths and `preload./srv/shop:rest` for the rest. The boot does
//! not wait for them, but a service that says `after: [preload./srv/shop]` does. Each runs once for a volume and the
//! given paths, and once per boot if it has to fill the cache. [`host::reading`](crate::host::reading) does the
//! reading.

mod done;
mod fields;
mod paths;
mod reading;
mod rest;
mod shown;
mod trouble;

use std::rc::Rc;

use self::paths::PreloadPaths;
use self::rest::PreloadRest;
use crate::address::Address;
use crate::step::Companion;

pub(crate) use self::fields::Preload;

/// The steps that a mount with the key `mount` adds.
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
}
