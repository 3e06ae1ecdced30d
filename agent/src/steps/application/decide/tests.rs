use super::*;

fn generation(version: &str) -> Generation {
    let processes = [(WEB, "serve"), ("jobs", "work")].map(|(name, command)| (name.to_owned(), command.to_owned()));
    Generation {
        release: format!("/opt/shop/releases/{version}").into(),
        version: version.into(),
        processes: processes.into(),
        user: "shop".into(),
        environment: BTreeMap::new(),
        secrets: Vec::new(),
        stop_signal: "SIGTERM".into(),
        stop_grace_ms: 30_000,
        properties: Vec::new(),
        has_directories: false,
        container: None,
        composition: None,
        php: None,
    }
}

fn placed(number: u32, version: &str, slot: Slot) -> Placed {
    Placed { application: "shop".into(), number, port: slot.port(5000, true), occasion: Occasion::Release, generation: generation(version) }
}

/// A machine on which version 1 serves in slot a.
fn serving() -> Found {
    let one = placed(1, "1", Slot::A);
    let units: BTreeSet<String> = one.units().collect();
    Found {
        slots: [Some((one, true)), None],
        current: Some(Slot::A),
        is_led: true,
        is_lost: false,
        running: units.clone(),
        up: units,
        hooked: None,
        last: 0,
        stale: BTreeSet::new(),
        lacks_certificate: false,
    }
}

fn changes(version: &str, overlap: &Overlap, found: &Found) -> Vec<String> {
    let (build, extensions, hooks, front) = (None, [None, None], BTreeMap::new(), Vec::new());
    let (port, listens, first, current) = (5000, vec![8080], Slot::A, None);
    let generation = generation(version);
    let wanted = Wanted { application: "shop", generation, port, listens, overlap, build, extensions, hooks, front, first, current };
    wanted.changes(found).iter().map(ToString::to_string).collect()
}

const WEB_ALONE: &Overlap = &Overlap::Web(true);

#[test]
fn the_first_release_is_started_and_gets_requests_once_it_serves() {
    assert_eq!(
        changes("1", WEB_ALONE, &Found::default()),
        [
            "write the environment of shop 1 (generation 1)",
            "start shop.web-1.service: serve",
            "wait until shop 1 (generation 1) serves on port 15000",
            "switch requests to shop 1 (generation 1)",
            "start shop.jobs-1.service: work",
            "check that shop 1 (generation 1) stays up",
        ]
    );
}

#[test]
fn what_serves_is_left_alone() {
    assert!(changes("1", WEB_ALONE, &serving()).is_empty());
}

#[test]
fn the_next_release_is_proven_beside_the_one_that_serves() {
    assert_eq!(
        changes("2", WEB_ALONE, &serving()),
        [
            "write the environment of shop 2 (generation 2)",
            "start shop.web-2.service: serve",
            "wait until shop 2 (generation 2) serves on port 25000",
            "switch requests to shop 2 (generation 2) instead of 1",
            "stop shop.jobs-1.service",
            "start shop.jobs-2.service: work",
            "check that shop 2 (generation 2) stays up",
            "drain and stop shop.web-1.service, shop.jobs-1.service",
        ]
    );
}

#[test]
fn without_overlap_the_old_one_stops_first() {
    let found = Found { slots: [Some((Placed { port: 5000, ..placed(1, "1", Slot::A) }, true)), None], ..serving() };
    let made = changes("2", &Overlap::Web(false), &found);
    let at = |line: &str| made.iter().position(|made| made.starts_with(line)).unwrap_or_else(|| panic!("{line} is not in {made:?}"));
    assert!(at("stop shop.web-1.service, shop.jobs-1.service") < at("start shop.web-2.service"));
    assert_eq!(at("drain and stop shop.web-1.service"), made.len() - 1);
}

#[test]
fn other_secrets_make_another_generation_of_the_same_release() {
    let found = Found { stale: [Slot::A].into(), ..serving() };
    assert!(changes("1", WEB_ALONE, &found).contains(&"start shop.web-2.service: serve".to_owned()));
}

#[test]
fn after_a_reboot_the_same_generation_starts_again() {
    let found = Found { is_led: false, running: BTreeSet::new(), up: BTreeSet::new(), ..serving() };
    let made = changes("1", WEB_ALONE, &found);
    assert!(made.contains(&"start shop.web-1.service: serve".to_owned()), "{made:?}");
    assert!(made.contains(&"switch requests to shop 1 (generation 1)".to_owned()), "{made:?}");
}

#[test]
fn a_switch_that_was_cut_off_goes_on() {
    let two = placed(2, "2", Slot::B);
    let mut found = serving();
    found.running.insert(two.unit(WEB));
    found.slots[1] = Some((two.clone(), false));
    let made = changes("2", WEB_ALONE, &found);
    assert!(!made.iter().any(|line| line.starts_with("start shop.web")) && made[0].ends_with("(generation 2)"), "{made:?}");

    // The link has already been switched.
    let mut found = Found { current: Some(Slot::B), ..found };
    found.up.insert(two.unit(WEB));
    found.slots[1] = Some((two, true));
    let made = changes("2", WEB_ALONE, &found);
    let at = |line: &str| made.iter().position(|made| made.starts_with(line)).unwrap_or_else(|| panic!("{line} is not in {made:?}"));
    assert!(
        at("stop shop.jobs-1.service") < at("start shop.jobs-2.service")
            && at("start shop.jobs-2.service") < at("drain and stop shop.web-1.service"),
        "{made:?}"
    );
}

/// Regression: nothing was left to roll back to if a process did not stay up.
#[test]
fn what_was_cut_off_before_it_was_seen_to_stay_up_is_looked_at_before_the_one_before_goes() {
    let two = placed(2, "2", Slot::B);
    let mut found = Found { current: Some(Slot::B), ..serving() };
    for units in [&mut found.running, &mut found.up] {
        units.extend(two.units());
    }
    found.slots[1] = Some((two, true));
    let made = changes("2", WEB_ALONE, &found);
    assert_eq!(made, ["check that shop 2 (generation 2) stays up", "drain and stop shop.web-1.service, shop.jobs-1.service"]);
}

#[test]
fn what_another_document_left_in_the_free_slot_goes_first() {
    let mut found = serving();
    found.slots[1] = Some((placed(4, "3", Slot::B), false));
    let made = changes("2", WEB_ALONE, &found);
    assert_eq!(made[0], "drain and stop shop.web-4.service, shop.jobs-4.service");
    assert!(made.contains(&"start shop.web-5.service: serve".to_owned()), "{made:?}");
    assert_eq!(changes("1", WEB_ALONE, &found), ["drain and stop shop.web-4.service, shop.jobs-4.service"]);
}

#[test]
fn what_a_reboot_has_ended_serves_while_its_successor_is_made() {
    let found = Found { is_led: false, running: BTreeSet::new(), up: BTreeSet::new(), ..serving() };
    let made = changes("2", WEB_ALONE, &found);
    let resumed = "have shop.web-1.service, shop.jobs-1.service serve until its successor does";
    assert_eq!((made[0].as_str(), made[5].as_str()), (resumed, "stop shop.jobs-1.service"));
    assert_eq!(made[1..], changes("2", WEB_ALONE, &serving()), "then all goes on as if it had run all along");
    // Resuming is pointless here, since the process would be stopped again at once.
    assert!(!changes("2", &Overlap::Web(false), &found).iter().any(|line| line.contains("again")));
}

/// Regression: this was refused, because the previous release still used the port meant for the proxy.
#[test]
fn a_port_of_the_release_before_is_the_proxys_once_that_has_stopped() {
    for port in [5000, 8080] {
        let found = Found { slots: [Some((Placed { port, ..placed(1, "1", Slot::A) }, true)), None], ..serving() };
        assert_eq!(
            changes("2", WEB_ALONE, &found)[1..5],
            [
                "start shop.web-2.service: serve",
                "wait until shop 2 (generation 2) serves on port 25000",
                "stop shop.web-1.service, shop.jobs-1.service",
                "switch requests to shop 2 (generation 2) instead of 1",
            ],
            "{port}"
        );
    }
}
