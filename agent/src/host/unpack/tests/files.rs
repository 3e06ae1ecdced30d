//! Releases that consist of one file.

use super::*;

fn only(name: &str, mode: u32, compression: Option<Compression>) -> Form {
    Form::File { name: name.into(), mode, compression }
}

async fn unpack(machine: &Machine, content: &[u8], form: Form) -> Result<Unpacked, UnpackError> {
    let sha256 = Some(Sha256::of(content));
    machine.unpack_as(content, Unpacking { form, sha256, length: Some(content.len() as u64), ..machine.wanted() }).await
}

#[tokio::test]
async fn one_file_is_taken_as_it_is_or_decompressed() {
    let program = [b"\x7fELF".as_slice(), &[7; 200_000]].concat();
    for (content, compression) in
        [(program.clone(), None), (gzip(&program), Some(Compression::Gzip)), (zstd(&program), Some(Compression::Zstd))]
    {
        let machine = Machine::new();
        let unpacked = unpack(&machine, &content, only("shop", 0o755, compression)).await.unwrap();
        assert_eq!((unpacked.bytes, unpacked.unpacked), (content.len() as u64, program.len() as u64));
        assert_eq!(fs::read(machine.at("shop")).unwrap(), program);
        assert_eq!((machine.mode("shop"), machine.mode("")), (0o755, 0o751));
    }
    // An archive stays packed, and so does content with another compression than stated.
    for content in [release(), gzip(&release()), zip(&[("a", 0o644, b"x")]), b"#!/bin/sh\n".to_vec(), b"x".to_vec()] {
        let machine = Machine::new();
        unpack(&machine, &content, only("shop.jar", 0o640, None)).await.unwrap();
        assert_eq!(fs::read(machine.at("shop.jar")).unwrap(), content);
        assert_eq!(machine.mode("shop.jar"), 0o640);
        assert_eq!(fs::read_dir(machine.at("")).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn what_is_no_such_file_is_named() {
    let gz = || only("shop", 0o755, Some(Compression::Gzip));
    let zst = || only("shop", 0o755, Some(Compression::Zstd));
    let packed = gzip(&[7; 9000]);
    let mut said = Vec::new();
    for (content, form) in [
        (Vec::new(), only("shop", 0o755, None)),
        (Vec::new(), gz()),
        (b"\x7fELF".to_vec(), gz()),
        (packed.clone(), zst()),
        (packed[..packed.len() - 4].to_vec(), gz()),
        ([packed.clone(), b"more".to_vec()].concat(), gz()),
    ] {
        said.push(Explanation::of(&unpack(&Machine::new(), &content, form).await.unwrap_err()).to_string());
    }
    insta::assert_snapshot!(said.join("\n"), @r"
    this is an empty file
      hint: publish the release again, and check its size
    this is an empty file
      hint: publish the release again, and check its size
    this is not gzip, despite its name
      hint: publish it under a name that matches its format
    this is not zstd, despite its name
      hint: publish it under a name that matches its format
    the archive is damaged: it is truncated
      hint: rebuild the archive and publish it again
    the archive is damaged: there is data after its end
      hint: rebuild the archive and publish it again
    ");
    let machine = Machine::new();
    let wanted = Unpacking { form: gz(), limit: Some(5000), ..machine.wanted() };
    assert!(matches!(machine.unpack_as(&packed, wanted).await, Err(UnpackError::TooLarge { limit: 5000 })));
}
