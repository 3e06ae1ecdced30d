//! Links that may point outside a release, because the document names them.

use super::*;

fn linked(links: &[(&str, &str)]) -> Form {
    let links = links.iter().map(|(name, to)| ((*name).to_owned(), (*to).into())).collect();
    Form::Archive { strip_components: 0, links: Links::new("/opt/shop/releases/1".into(), links) }
}

async fn unpack(machine: &Machine, archive: &[u8], links: &[(&str, &str)]) -> Result<Unpacked, UnpackError> {
    machine.unpack_as(archive, Unpacking { form: linked(links), ..machine.wanted() }).await
}

fn link(tar: &mut Tar, name: &[u8], to: &[u8]) {
    raw(tar, EntryType::Symlink, name, to, b"");
}

#[tokio::test]
async fn a_link_that_the_document_allows_leads_out() {
    let archive = tar(|tar| {
        link(tar, b"shared/uploads", b"/srv/shared/uploads");
        link(tar, b"log", b"../../shared/log");
    });
    let machine = Machine::new();
    unpack(&machine, &archive, &[("shared/*", "/srv/shared"), ("log", "/opt/shop/shared/log")]).await.unwrap();
    assert_eq!(fs::read_link(machine.at("shared/uploads")).unwrap(), Path::new("/srv/shared/uploads"));
    assert_eq!(fs::read_link(machine.at("log")).unwrap(), Path::new("../../shared/log"));
    let said = machine.refuses(&archive).await;
    insta::assert_snapshot!(said, @r#"
    the archive holds `shared/uploads`, a link to an absolute path: /srv/shared/uploads
      hint: rebuild the archive without it, or allow the link in the bundle: `links: { "shared/uploads": "/srv/shared/uploads" }`
    "#);
}

#[tokio::test]
async fn a_link_that_is_not_named_leads_nowhere() {
    let allowed = [("shared/*", "/srv/shared"), ("data", "/srv/data")];
    for (name, to) in [
        (&b"shared/x"[..], &b"/srv/sharedevil"[..]),
        (b"shared/x", b"/srv/shared/../../etc/passwd"),
        (b"shared/x", b"/etc/passwd"),
        (b"shared/x/y", b"/srv/shared/y"),
        (b"other", b"/srv/shared/x"),
        (b"data", b"/srv/shared/x"),
        (b"data", b"../../../../srv/data/../../etc"),
    ] {
        let error = unpack(&Machine::new(), &tar(|tar| link(tar, name, to)), &allowed).await.unwrap_err();
        let is_refused = matches!(error, UnpackError::LeadsOut { .. } | UnpackError::Refused { .. });
        assert!(is_refused, "{}: {error}", String::from_utf8_lossy(to));
    }
}

/// An archive may link to such a target but not write to it: writes do not follow links.
#[tokio::test]
async fn nothing_is_written_through_a_link_that_is_allowed() {
    let machine = Machine::new();
    fs::create_dir_all(machine.root.path().join("srv/shared")).unwrap();
    let archive = tar(|tar| {
        link(tar, b"shared", b"/srv/shared");
        raw(tar, EntryType::Regular, b"shared/x", b"", b"x");
    });
    let error = unpack(&machine, &archive, &[("shared", "/srv/shared")]).await.unwrap_err();
    assert_eq!(error.to_string(), "the archive holds `shared/x`, whose path goes through a link");
    let archive = tar(|tar| {
        link(tar, b"shared/a", b"/srv/shared/victim");
        raw(tar, EntryType::Link, b"hard", b"shared/a", b"");
    });
    let error = unpack(&machine, &archive, &[("shared/*", "/srv/shared")]).await.unwrap_err();
    assert_eq!(error.to_string(), "the archive holds `hard`, a link to an absolute path: /srv/shared/victim");
    let archive = tar(|tar| {
        link(tar, b"shared", b"/srv/shared");
        raw(tar, EntryType::Regular, b"shared", b"", b"x");
    });
    unpack(&machine, &archive, &[("share?", "/srv/shared")]).await.unwrap();
    assert!(machine.at("shared").is_file() && fs::read_dir(machine.root.path().join("srv/shared")).unwrap().next().is_none());
}

#[tokio::test]
async fn a_link_that_the_archive_does_not_bring_is_made() {
    let machine = Machine::new();
    let archive = tar(|tar| {
        file(tar, "bin/shop", 0o755, b"x");
        tar.append_data(&mut header(EntryType::Directory, 0o755, 0), "log/", &b""[..]).unwrap();
    });
    unpack(&machine, &archive, &[("log", "/srv/log"), ("public/uploads", "/srv/uploads"), ("x/*", "/srv/x")]).await.unwrap();
    let links = ["log", "public/uploads"].map(|name| fs::read_link(machine.at(name)).unwrap());
    assert_eq!(links, [Path::new("/srv/log"), Path::new("/srv/uploads")]);
    assert!(!machine.at("x").exists());
    let mut said = Vec::new();
    for archive in [
        tar(|tar| file(tar, "log/.keep", 0o644, b"")),
        tar(|tar| file(tar, "log", 0o644, b"")),
        tar(|tar| {
            link(tar, b"log", b"other");
            file(tar, "other", 0o644, b"");
        }),
        tar(|tar| {
            link(tar, b"a", b"b");
            file(tar, "b/c", 0o644, b"");
        }),
    ] {
        let error = unpack(&Machine::new(), &archive, &[("log", "/srv/log"), ("a/log", "/srv/log")]).await.unwrap_err();
        said.push(error.to_string());
    }
    insta::assert_snapshot!(said.join("\n"), @r"
    the archive holds `log`, a directory that is not empty, in place of the link to /srv/log that `links` of the bundle requires
    the archive holds `log`, a file in place of the link to /srv/log that `links` of the bundle requires
    the archive holds `log`, a link to something else in place of the link to /srv/log that `links` of the bundle requires
    the archive holds `a/log`, whose path goes through a link
    ");
}

/// A link has another target when it is placed in another directory.
#[tokio::test]
async fn a_hard_link_to_a_symbolic_link_is_one_and_is_judged_anew() {
    let machine = Machine::new();
    let archive = tar(|tar| {
        file(tar, "lib/libx.so.1", 0o755, b"x");
        link(tar, b"lib/libx.so", b"libx.so.1");
        raw(tar, EntryType::Link, b"lib/liby.so", b"lib/libx.so", b"");
    });
    machine.unpack(&archive).await.unwrap();
    assert_eq!(fs::read_link(machine.at("lib/liby.so")).unwrap(), Path::new("libx.so.1"));
    let inode = |name: &str| machine.at(name).symlink_metadata().unwrap().ino();
    assert_eq!(inode("lib/libx.so"), inode("lib/liby.so"));
    let archive = tar(|tar| {
        link(tar, b"a/b/c", b"../../x");
        raw(tar, EntryType::Link, b"c", b"a/b/c", b"");
    });
    let said = Machine::new().refuses(&archive).await;
    assert!(said.starts_with("the archive holds `c`, a link that points outside the bundle: ../../x"), "{said}");
}

/// Such an entry was counted, but no file was created.
#[tokio::test]
async fn a_hard_link_to_itself_is_no_file() {
    let itself = |tar: &mut Tar| raw(tar, EntryType::Link, b"a", b"./a", b"");
    let said = Machine::new().refuses(&tar(itself)).await;
    assert!(said.starts_with("the archive holds `a`, a link to a missing file"), "{said}");
    let machine = Machine::new();
    let archive = tar(|tar| {
        file(tar, "a", 0o644, b"content");
        itself(tar);
    });
    machine.unpack(&archive).await.unwrap();
    assert_eq!(fs::read(machine.at("a")).unwrap(), b"content");
}
