//! Selects the wanted disk among those that are attached. Pure.

use std::path::Path;

use super::disk::{Disk, Origin, Wanted};

/// Finds the wanted disk in `disks`, which are in the order of their controllers.
///
/// Names are compared without `/dev/`, and `xvdf` equals `sdf`: what EC2 calls /dev/sdf, a Xen kernel calls /dev/xvdf.
pub(crate) fn find<'d>(disks: &'d [Disk], wanted: &Wanted) -> Option<&'d Disk> {
    match wanted {
        Wanted::Volume(id) => disks.iter().find(|disk| matches!(&disk.origin, Origin::Volume(found) if found == id)),
        Wanted::AttachedAs(name) => {
            let named = |disk: &&Disk| disk.attached_as.as_deref().is_some_and(|known| plain(known) == plain(name));
            disks.iter().find(named).or_else(|| disks.iter().find(|disk| disk.node == Path::new(name)))
        }
        Wanted::InstanceStore(number) => {
            let stores = disks.iter().filter_map(|disk| match disk.origin {
                Origin::InstanceStore(said) => Some((disk, said)),
                Origin::Volume(_) | Origin::Other => None,
            });
            let place = usize::try_from(*number).ok()?;
            let silent = stores.clone().nth(place).filter(|(_, said)| said.is_none());
            stores.clone().find(|(_, said)| *said == Some(*number)).or(silent).map(|(disk, _)| disk)
        }
    }
}

/// A name of the block device mapping as EC2 would write it: `sdf` for `/dev/xvdf`.
fn plain(name: &str) -> String {
    let name = name.strip_prefix("/dev/").unwrap_or(name);
    match name.strip_prefix("xvd") {
        Some(letters) => format!("sd{letters}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::device_number::DeviceNumber;

    fn disk(node: &str, origin: Origin, attached_as: Option<&str>) -> Disk {
        Disk {
            node: node.into(),
            number: DeviceNumber { major: 259, minor: 0 },
            size: 1 << 30,
            read_only: false,
            origin,
            attached_as: attached_as.map(str::to_owned),
            partitions: Vec::new(),
            holders: Vec::new(),
        }
    }

    fn found(disks: &[Disk], wanted: &Wanted) -> Option<String> {
        find(disks, wanted).map(|disk| disk.node.display().to_string())
    }

    #[test]
    fn knows_a_volume_by_its_id_and_a_name_however_it_is_written() {
        let volume = |id: &str| Origin::Volume(id.into());
        let disks = [
            disk("/dev/nvme0n1", volume("vol-0a"), Some("/dev/xvda")),
            disk("/dev/nvme1n1", volume("vol-0b"), Some("/dev/sdf")),
            disk("/dev/vdb", Origin::Other, None),
            // An unlikely name, but a name in the mapping takes precedence over a node.
            disk("/dev/sdf", Origin::Other, None),
        ];
        let named = |name: &str| found(&disks, &Wanted::AttachedAs(name.into()));
        assert_eq!(found(&disks, &Wanted::Volume("vol-0b".into())).as_deref(), Some("/dev/nvme1n1"));
        assert_eq!(found(&disks, &Wanted::Volume("vol-0c".into())), None);
        for (name, node) in [
            ("/dev/sdf", Some("/dev/nvme1n1")),
            ("sdf", Some("/dev/nvme1n1")),
            ("xvdf", Some("/dev/nvme1n1")),
            ("/dev/xvdf", Some("/dev/nvme1n1")),
            ("/dev/sda", Some("/dev/nvme0n1")),
            ("/dev/vdb", Some("/dev/vdb")),
            ("/dev/nvme0n1", Some("/dev/nvme0n1")),
            ("vdb", None),
            ("/dev/sdg", None),
            ("", None),
        ] {
            assert_eq!(named(name).as_deref(), node, "{name}");
        }
    }

    #[test]
    fn counts_instance_stores_where_their_controllers_do_not() {
        let store = |node: &str, number: Option<u32>| disk(node, Origin::InstanceStore(number), None);
        let root = disk("/dev/nvme0n1", Origin::Volume("vol-0a".into()), None);
        let silent = [root.clone(), store("/dev/nvme2n1", None), store("/dev/nvme1n1", None)];
        let said = [root, store("/dev/nvme2n1", Some(1)), store("/dev/nvme1n1", Some(0))];
        let nth = |disks: &[Disk], number| found(disks, &Wanted::InstanceStore(number));
        assert_eq!(nth(&silent, 0).as_deref(), Some("/dev/nvme2n1"));
        assert_eq!(nth(&silent, 1).as_deref(), Some("/dev/nvme1n1"));
        assert_eq!(nth(&silent, 2), None);
        assert_eq!(nth(&said, 0).as_deref(), Some("/dev/nvme1n1"));
        assert_eq!(nth(&said, 1).as_deref(), Some("/dev/nvme2n1"));
        assert_eq!(nth(&said, 2), None);
    }
}
