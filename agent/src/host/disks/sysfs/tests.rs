use std::os::unix::fs::symlink;

use super::*;

/// A /sys of a few files; as in the real one, `/sys/block/NAME` is a link.
struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir_all(world.sys("block")).unwrap();
        fs::create_dir_all(world.sys("dev/block")).unwrap();
        world
    }

    fn sys(&self, path: &str) -> PathBuf {
        self.directory.path().join("sys").join(path)
    }

    fn disk(&self, bus: &str, name: &str, number: &str, files: &[(&str, &str)]) -> &Self {
        let directory = self.sys("devices").join(bus).join(name);
        self.device(&directory, number);
        symlink(&directory, self.sys("block").join(name)).unwrap();
        fs::write(directory.join("size"), "2048\n").unwrap();
        fs::write(directory.join("ro"), "0\n").unwrap();
        for (path, content) in files {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{content}\n")).unwrap();
        }
        self
    }

    fn partition(&self, disk: &str, name: &str, number: &str, partition: u32) -> &Self {
        let directory = self.sys("block").join(disk).canonicalize().unwrap().join(name);
        self.device(&directory, number);
        fs::write(directory.join("size"), "1024\n").unwrap();
        fs::write(directory.join("partition"), format!("{partition}\n")).unwrap();
        self
    }

    fn device(&self, directory: &Path, number: &str) {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("dev"), format!("{number}\n")).unwrap();
        symlink(directory, self.sys("dev/block").join(number)).unwrap();
    }

    fn look(&self) -> Sysfs {
        Sysfs { sys: self.sys(""), dev: "/no/such".into() }
    }

    fn names(&self) -> Vec<String> {
        self.look().disks().unwrap().iter().map(|disk| name(&disk.node)).collect()
    }
}

#[test]
fn lists_whole_disks_by_name_and_leaves_out_what_holds_nothing() {
    let world = World::new();
    let names = ["nvme10n1", "nvme2n1", "sdc", "sdb", "dm-0", "md127", "ram0", "zram0", "sr0", "fd0", "loop0", "loop10"];
    for (minor, name) in names.into_iter().enumerate() {
        world.disk("virtual", name, &format!("1:{minor}"), &[]);
    }
    world.disk("virtual", "loop1", "7:1", &[("loop/backing_file", "/tmp/x.img")]);
    world.disk("virtual", "nbd0", "43:0", &[("size", "0")]);
    world.disk("virtual", "nvme2c2n1", "259:9", &[("hidden", "1")]);
    // Not a floppy, despite the beginning of its name.
    world.disk("virtual", "fdx", "200:0", &[]);
    // A disk that disappears while /sys is read.
    symlink(world.sys("devices/gone"), world.sys("block/nvme3n1")).unwrap();
    assert_eq!(world.names(), ["dm-0", "fdx", "loop1", "md127", "nvme2n1", "nvme10n1", "sdb", "sdc"]);
}

#[test]
fn describes_a_disk() {
    let world = World::new();
    world.disk(
        "pci0000:00/0000:00:1f.0/nvme/nvme1",
        "nvme1n1",
        "259:1",
        &[("device/serial", "vol0123456789abcdef0 "), ("device/model", "Amazon Elastic Block Store   "), ("ro", "1"), ("holders/dm-1", "")],
    );
    world.partition("nvme1n1", "nvme1n1p2", "259:3", 2).partition("nvme1n1", "nvme1n1p1", "259:2", 1);
    fs::create_dir_all(world.sys("block/nvme1n1/nvme1n1p2/holders/md0")).unwrap();

    let partition = |number: u32| Partition {
        node: format!("/no/such/nvme1n1p{number}").into(),
        number,
        device: DeviceNumber { major: 259, minor: number + 1 },
        size: 512 << 10,
    };
    let disk = Disk {
        node: "/no/such/nvme1n1".into(),
        number: DeviceNumber { major: 259, minor: 1 },
        size: 1 << 20,
        read_only: true,
        origin: Origin::Volume("vol-0123456789abcdef0".into()),
        attached_as: None,
        partitions: vec![partition(1), partition(2)],
        holders: vec!["dm-1".into(), "md0".into()],
    };
    let look = world.look();
    assert_eq!(look.disks().unwrap(), std::slice::from_ref(&disk));
    assert_eq!(look.behind(disk.number).unwrap(), Some((disk.clone(), None)));
    assert_eq!(look.behind(disk.partitions[1].device).unwrap(), Some((disk, Some(2))));
    assert_eq!(look.behind(DeviceNumber { major: 8, minor: 0 }).unwrap(), None);
    // It has no node.
    assert_eq!(look.usable_disks().unwrap(), []);
}

#[test]
fn tells_where_a_disk_comes_from() {
    let id = "vol-0123456789abcdef0";
    for (name, files, origin, attached_as) in [
        ("nvme0n1", vec![("device/model", INSTANCE_STORE), ("device/serial", "AWS1234")], Origin::InstanceStore(None), None),
        ("nvme0n1", vec![("device/model", "QEMU NVMe Ctrl"), ("device/serial", "vol0123456789abcdef0")], Origin::Volume(id.into()), None),
        ("nvme0n1", vec![("device/serial", "S4EVNX0")], Origin::Other, None),
        ("vdb", vec![("serial", "vol0123456789abcdef0")], Origin::Volume(id.into()), None),
        ("vdb", vec![("serial", "overlayblk")], Origin::Other, None),
        ("xvdba", vec![], Origin::Other, Some("/dev/sdba")),
        ("sdf", vec![], Origin::Other, Some("/dev/sdf")),
        ("dm-0", vec![], Origin::Other, None),
    ] {
        let world = World::new();
        world.disk("virtual", name, "1:1", &files);
        let disk = world.look().disks().unwrap().remove(0);
        assert_eq!((disk.origin, disk.attached_as.as_deref()), (origin, attached_as), "{name}");
    }
}

#[test]
fn a_serial_is_a_volume_if_it_has_the_form_of_one() {
    for (serial, id) in [
        ("vol0123456789abcdef0", Some("vol-0123456789abcdef0")),
        ("vol-0123456789abcdef0", Some("vol-0123456789abcdef0")),
        ("  vol0a1b2c3d\n", Some("vol-0a1b2c3d")),
        ("vol0123456789abcdef", None),
        ("vol0123456789ABCDEF0", None),
        ("volume", None),
        ("vol", None),
        ("AWS0123456789abcdef0", None),
        ("", None),
    ] {
        assert_eq!(volume_id(serial).as_deref(), id, "{serial:?}");
    }
}

#[test]
fn orders_controllers_by_their_address_and_not_by_their_name() {
    let world = World::new();
    world.disk("pci0000:00/0000:00:1f.0/nvme/nvme0", "nvme0n1", "259:0", &[]);
    world.disk("pci0000:00/0000:00:05.0/0000:0a:00.0/nvme/nvme1", "nvme1n1", "259:1", &[]);
    world.disk("pci0000:00/0000:00:1e.0/nvme/nvme2", "nvme2n1", "259:2", &[]);
    world.disk("virtual/block", "dm-0", "252:0", &[]);
    let address = |name: &str| pci_address(&world.sys("block").join(name));
    assert_eq!(address("nvme0n1"), Some([0, 0, 0x1f, 0]));
    assert_eq!(address("nvme1n1"), Some([0, 0x0a, 0, 0]));
    assert_eq!(address("dm-0"), None);
    let mut names = ["dm-0", "nvme1n1", "nvme0n1", "nvme2n1"];
    names.sort_by_key(|name| (address(name).is_none(), address(name)));
    assert_eq!(names, ["nvme2n1", "nvme0n1", "nvme1n1", "dm-0"]);
}

#[test]
fn a_node_has_a_number_if_it_is_a_block_device() {
    for path in ["/dev/null", "/etc/passwd", "/no/such", "/etc/passwd/x", "/"] {
        assert_eq!(number_of(Path::new(path)).unwrap(), None, "{path}");
    }
    assert_eq!(DeviceNumber::parse("259:17"), Some(DeviceNumber { major: 259, minor: 17 }));
    assert_eq!(DeviceNumber::parse("259"), None);
    assert_eq!(DeviceNumber::of(nix::sys::stat::makedev(259, 1_000_000)), DeviceNumber { major: 259, minor: 1_000_000 });
}

/// On any machine, reading must not fail, and nothing is written.
#[test]
fn reads_the_machine_it_is_on() {
    let real = Sysfs::default();
    if !real.block().is_dir() {
        return;
    }
    for disk in real.usable_disks().unwrap() {
        assert_eq!(real.behind(disk.number).unwrap().unwrap().0, disk);
    }
}
