//! What `ingot seal` finds wrong with the units of an image: what a boot would refuse, and what starts before ingot.

use super::{Image, LAYER};

/// The findings about units, without their hints.
fn about_units(image: &Image) -> Vec<String> {
    let ran = image.seal(&[]);
    ran.stdout.lines().filter(|line| line.contains(": unit-")).map(str::to_owned).collect()
}

/// A unit of the layer, files of the image, and the file and line of the finding; empty if there should be none.
type Ordered = (&'static str, &'static [(&'static str, &'static str)], &'static str);

/// Regression: each was refused at boot, but the image was sealed.
#[test]
fn whatever_orders_a_unit_after_ingot_is_found() {
    let service = "[Service]\nExecStart=/x\n";
    let cases: [Ordered; 10] = [
        ("shop.service", &[("/etc/systemd/system/service.d/all.conf", "[Unit]\nAfter=ingot.target\n")], "service.d/all.conf:2"),
        ("a-b.service", &[("/etc/systemd/system/a-.service.d/x.conf", "[Unit]\nAfter=ingot.service\n")], "a-.service.d/x.conf:2"),
        ("w@1.service", &[("/etc/systemd/system/w@1.service.d/x.conf", "[Unit]\nAfter=ingot.service\n")], "w@1.service.d/x.conf:2"),
        ("w@1.service", &[("/usr/lib/systemd/system/w@.service.d/x.conf", "[Unit]\nAfter=ingot.service\n")], "w@.service.d/x.conf:2"),
        (
            "shop.service",
            &[("/etc/systemd/system/shop.service.d/x.conf", "[Unit]\nAfter=network.target \\\n# not\n  ingot.target\n")],
            "shop.service.d/x.conf:4",
        ),
        ("shop.service", &[("/etc/systemd/system/shop.service.d/x.conf", "[Unit]\nAfter=multi-user.target\n")], "x.conf:2"),
        ("shop.service", &[("/etc/systemd/system/ingot.service.d/x.conf", "[Unit]\nBefore=shop.service\n")], "ingot.service.d/x.conf:2"),
        (
            "shop.service",
            &[
                ("/etc/systemd/system/shop.service.d/x.conf", "[Unit]\nWants=helper.service\nAfter=helper.service\n"),
                ("/etc/systemd/system/helper.service", "[Unit]\nAfter=ingot.target\n"),
            ],
            "helper.service:2",
        ),
        // No finding for a unit without an order, a masked one, or a helper that nothing starts.
        (
            "shop.service",
            &[
                ("/etc/systemd/system/shop.service.d/x.conf", ""),
                ("/usr/lib/systemd/system/shop.service.d/x.conf", "[Unit]\nAfter=ingot.target\n"),
            ],
            "",
        ),
        (
            "shop.service",
            &[
                ("/etc/systemd/system/shop.service.d/x.conf", "[Unit]\nAfter=helper.service\n"),
                ("/etc/systemd/system/helper.service", "[Unit]\nAfter=ingot.target\n"),
            ],
            "",
        ),
    ];
    for (unit, files, found) in cases {
        let image = Image::new();
        image.write("/etc/ingot/boot.d/10-shop.yaml", &LAYER.replace("shop.service", unit));
        for name in ["shop.service", "a-b.service", "w@.service"] {
            image.write(&format!("/usr/lib/systemd/system/{name}"), service);
        }
        files.iter().for_each(|(path, content)| image.write(path, content));
        let says = about_units(&image);
        match found {
            "" => assert!(says.is_empty(), "{files:?}: {says:?}"),
            found => assert!(says.len() == 1 && says[0].contains(&format!("{found}: unit-after-ingot: ")), "{files:?}: {says:?}"),
        }
    }
}

/// Regression: they started the unit before ingot had written its configuration.
#[test]
fn whatever_starts_a_unit_before_ingot_does_is_found() {
    let enabled = "/etc/systemd/system/multi-user.target.wants";
    let cases: [(&str, &str, bool, &str); 9] = [
        ("shop.socket", "[Socket]\nListenStream=80\n", true, "shop.socket starts at boot and activates it"),
        ("web.socket", "[Socket]\nListenStream=80\nService=shop.service\n", true, "web.socket starts at boot and activates it"),
        ("shop.timer", "[Timer]\nOnBootSec=1\n", true, "shop.timer starts at boot and activates it"),
        ("w.path", "[Path]\nPathExists=/x\nUnit=shop.service\n", true, "w.path starts at boot and activates it"),
        ("other.service", "[Unit]\nWants=a.service \\\n  shop.service\n", true, "other.service starts at boot and pulls it in"),
        ("other.service", "[Unit]\nRequires=shop.service\n", true, "other.service starts at boot and pulls it in"),
        ("basic.target", "[Unit]\nWants=shop.service\n", false, "basic.target starts at boot and pulls it in"),
        // Nothing starts these.
        ("other.service", "[Unit]\nWants=shop.service\n", false, ""),
        ("shop.timer", "[Timer]\nOnBootSec=1\n", false, ""),
    ];
    for (name, content, is_enabled, found) in cases {
        let image = Image::new();
        image.write(&format!("/usr/lib/systemd/system/{name}"), content);
        if is_enabled {
            image.link(&format!("/usr/lib/systemd/system/{name}"), &format!("{enabled}/{name}"));
        }
        let says = about_units(&image);
        match found {
            "" => assert!(says.is_empty(), "{name}: {says:?}"),
            found => assert!(
                says.len() == 1
                    && says[0].contains(&format!(": unit-enabled: shop.service may start before ingot has configured it: {found}")),
                "{name}: {says:?}"
            ),
        }
    }
}

/// A unit that ingot itself starts may start others.
#[test]
fn what_is_a_service_of_the_document_too_may_start_it() {
    let image = Image::new();
    image.write("/usr/lib/systemd/system/shop.socket", "[Socket]\nListenStream=80\n");
    image.write("/etc/ingot/boot.d/10-shop.yaml", &format!("{LAYER}  shop.socket: {{}}\n"));
    assert_eq!(about_units(&image), Vec::<String>::new());
}

#[test]
fn what_a_first_boot_enables_is_found() {
    let image = Image::new();
    image.write("/etc/ingot/boot.d/10-shop.yaml", LAYER);
    image.write(
        "/usr/lib/systemd/system/other.service",
        "[Service]\nExecStart=/x\n[Install]\nWantedBy=multi-user.target\nAlso=shop.service\n",
    );
    image.write("/usr/lib/systemd/system/shop.service", "[Service]\nExecStart=/x\n");
    image.write("/etc/machine-id", "uninitialized\n");
    let says = about_units(&image);
    assert!(says.len() == 1 && says[0].contains("other.service starts at boot and enables it at the first boot (Also=)"), "{says:?}");
}

/// ingot starts it, with the settings that the boot has written.
#[test]
fn the_unit_of_a_worker_has_to_be_there_and_started_by_nobody_else() {
    let template = "/usr/lib/systemd/system/ingot-worker@.service";
    let unit = include_str!("../../../systemd/ingot-worker@.service");
    let says = |also: &dyn Fn(&Image)| {
        let image = Image::new();
        image
            .write("/etc/ingot/boot.d/10-shop.yaml", "version: 1\nworkers:\n  jobs: { queue: shop-jobs, to: \"http://127.0.0.1:5000\" }\n");
        also(&image);
        about_units(&image)
    };
    assert_eq!(says(&|image| image.write(template, unit)), Vec::<String>::new());
    let missing =
        format!("{template}: unit-missing: ingot-worker@.service is not in the image, but ingot has to start ingot-worker@jobs.service");
    assert_eq!(says(&|_| ()), [missing]);
    let masked = says(&|image| image.link("/dev/null", "/etc/systemd/system/ingot-worker@.service"));
    assert_eq!(
        masked,
        ["/etc/systemd/system/ingot-worker@.service: unit-masked: it is masked, but ingot has to start ingot-worker@jobs.service"]
    );
    let enabled = says(&|image| {
        image.write(template, unit);
        image.link(template, "/etc/systemd/system/multi-user.target.wants/ingot-worker@jobs.service");
    });
    assert!(enabled.len() == 1 && enabled[0].contains("unit-enabled: ingot-worker@jobs.service is enabled on its own"), "{enabled:?}");
}

#[test]
fn what_workers_of_the_build_machine_left_is_a_trace() {
    let image = Image::new();
    image.write("/run/ingot/workers/jobs.json", "{}");
    image.write("/run/ingot-worker/jobs/status.json", "{}");
    let ran = image.seal(&[]);
    for path in ["/run/ingot", "/run/ingot-worker"] {
        assert!(ran.stdout.contains(&format!("{path}: ingot-state: ")), "{path}: {}", ran.stdout);
    }
}

/// ingot starts them itself, so nothing enables them: they only have to exist.
#[test]
fn units_that_ingot_brings_and_starts_are_missed() {
    let image = Image::new();
    image.write("/etc/ingot/boot.d/10-shop.yaml", &format!("{LAYER}drains:\n  leave: {{}}\n"));
    let names = ["ingot-after@.target", "ingot-drain.service"];
    let found = about_units(&image);
    assert_eq!(found.len(), 2, "{found:?}");
    for (line, name) in found.iter().zip(names) {
        assert!(line.contains(&format!("unit-missing: {name} is not in the image")), "{found:?}");
        image.write(&format!("/usr/lib/systemd/system/{name}"), "[Unit]\nDescription=x\n");
    }
    assert_eq!(about_units(&image), [""; 0]);
}
