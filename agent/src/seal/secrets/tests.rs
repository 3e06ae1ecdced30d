//! Scans of whole roots.
#![expect(clippy::disallowed_methods, reason = "the roots are real ones, in temporary directories")]

use std::fs;
use std::path::Path;

use super::*;

mod kinds;
mod samples;

fn root(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root
}

/// The findings in one file, as line and rule.
fn found_in(path: &str, content: &[u8]) -> Vec<(Option<u64>, String)> {
    let root = root(&[(path, content)]);
    scan(root.path(), 2).findings.into_iter().map(|finding| (finding.line, finding.rule)).collect()
}

fn token() -> String {
    format!("{}_{}", "ghp", samples::letters(36))
}

#[test]
fn says_where_and_never_what() {
    let token = token();
    let content = format!("first = 1\nsecond = 2\ntoken = {token}\n");
    let root = root(&[("/opt/app/settings", content.as_bytes())]);
    let scan = scan(root.path(), 2);
    let [finding] = &scan.findings[..] else { panic!("{:?}", scan.findings) };
    assert_eq!(finding.to_string(), "/opt/app/settings:3: github-pat: a GitHub Personal Access Token");
    assert_eq!((scan.files, scan.bytes), (1, content.len() as u64));
}

/// A file that is read in parts gives the same result as one that is read as a whole.
#[test]
fn finds_a_secret_wherever_it_lies_in_a_large_file() {
    let token = token();
    for before in [0, 1, 512 * 1024 - 30, 512 * 1024 - 20 * 1024 - 20, 1024 * 1024 - 20 * 1024 - 41, 1_500_000] {
        let lines = before / 64;
        let filler = format!("{}\n", "~".repeat(63)).repeat(lines) + &" ".repeat(before % 64);
        let content = format!("{filler}{token}\n{}", "\n".repeat(600_000));
        let found = found_in("/opt/large", content.as_bytes());
        assert_eq!(found, [(Some(lines as u64 + 1), "github-pat".to_string())], "after {before} bytes");
    }
}

#[test]
fn finds_a_private_key_across_a_cut() {
    let key = samples::pem("RSA PRIVATE KEY", 12_000);
    for before in [512 * 1024 - 20 * 1024 - 5, 512 * 1024 - 6_000] {
        let content = format!("{}\n{key}{}", "~".repeat(before), " ".repeat(600_000));
        assert_eq!(found_in("/srv/x", content.as_bytes()), [(Some(2), "private-key".to_string())]);
    }
}

#[test]
fn leaves_alone_what_a_package_brought_and_reads_what_was_written_since() {
    let token = token();
    let root = root(&[
        ("/usr/lib/tool/sample", token.as_bytes()),
        ("/usr/lib/tool/edited", token.as_bytes()),
        ("/usr/lib/tool/other", token.as_bytes()),
        ("/var/lib/dpkg/info/tool.list", b"/usr/lib/tool/sample\n/usr/lib/tool/edited\n"),
    ]);
    let day = std::time::Duration::from_secs(86_400);
    let set = |path: &str, by: std::time::Duration, later: bool| {
        let file = fs::File::options().write(true).open(root.path().join(path)).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(if later { modified + by } else { modified - by }).unwrap();
    };
    set("usr/lib/tool/sample", day, false);
    set("usr/lib/tool/edited", day, true);
    let paths: Vec<_> = scan(root.path(), 2).findings.into_iter().map(|finding| finding.path).collect();
    assert_eq!(paths, [Path::new("/usr/lib/tool/edited"), Path::new("/usr/lib/tool/other")]);
}

#[test]
fn follows_no_link_opens_no_pipe_and_reads_a_file_of_two_names_once() {
    let root = root(&[("/opt/a", token().as_bytes())]);
    let at = |name: &str| root.path().join("opt").join(name);
    fs::hard_link(at("a"), at("b")).unwrap();
    std::os::unix::fs::symlink(at("a"), at("c")).unwrap();
    nix::unistd::mkfifo(&at("d"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let scan = scan(root.path(), 2);
    assert_eq!((scan.findings.len(), scan.files), (1, 1));
}

#[test]
fn a_root_that_is_not_there_is_no_clean_image() {
    let findings = scan(Path::new("/nowhere"), 1).findings;
    assert_eq!(findings.iter().map(|finding| finding.rule.as_str()).collect::<Vec<_>>(), ["unreadable"]);
}

#[test]
fn guesses_in_text_only_and_not_in_what_others_published() {
    let secret = format!("client_secret = \"{}\"\n", samples::mixed(40));
    assert_eq!(found_in("/opt/app/main.py", secret.as_bytes()), [(Some(1), "generic-api-key".to_string())]);
    assert_eq!(found_in("/opt/app/main.bin2", format!("\0{secret}").as_bytes()), []);
    assert_eq!(found_in("/opt/app/node_modules/x/index.js", secret.as_bytes()), []);
    let known = token();
    assert_eq!(found_in("/opt/app/node_modules/x/index.js", known.as_bytes()).len(), 1);
    assert_eq!(found_in("/opt/app/program", format!("\x7fELF\0{known}\0").as_bytes()).len(), 1);
}

/// A program stores its strings with a NUL at the end, and part of a string may be anything.
#[test]
fn finds_a_token_among_the_strings_of_a_program() {
    let token = format!("{}_{}", "sk_live", samples::letters(24));
    for (before, after) in [("\0", "\0"), ("\u{ff}\u{1}", "\u{ff}"), ("url=", "\0")] {
        let mut content = vec![0xff; 700_000];
        content.extend_from_slice(format!("\n{before}{token}{after}").as_bytes());
        content.extend_from_slice(&[0xfe; 40_000]);
        content[3] = 0;
        assert_eq!(found_in("/opt/app/program", &content), [(Some(2), "stripe-access-token".to_string())], "{before:?}");
    }
}

#[test]
fn reads_text_of_two_bytes_a_letter() {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let token = token();
    for lines in [1, 40_000] {
        let content = [b"\xff\xfe".to_vec(), wide(&format!("{}{token}\n", "a line of it\n".repeat(lines)))].concat();
        assert_eq!(found_in("/opt/app/settings", &content), [(Some(lines as u64 + 1), "github-pat".to_string())]);
    }
    assert_eq!(found_in("/opt/app/app.ini", &wide("[database]\nuser = shop\npassword = s3cr3t!\n")), [(Some(3), "password".to_string())]);
}

#[test]
fn what_a_package_published_is_no_secret_wherever_its_list_lies() {
    let token = token();
    let record = format!("shop/a.py,sha256={},40\n", published_digest(&token));
    let site = |name: &str| format!("/opt/venv/lib/python3.11/site-packages/{name}");
    let (a, b, list) = (site("shop/a.py"), site("shop/b.py"), site("shop-1.0.dist-info/RECORD"));
    let root = root(&[(&a, token.as_bytes()), (&b, token.as_bytes()), (&list, record.as_bytes())]);
    let paths: Vec<_> = scan(root.path(), 2).findings.into_iter().map(|finding| finding.path).collect();
    assert_eq!(paths, [Path::new(&b)]);
}

/// RubyGems has no digests of files. That a file has not been written since it was unpacked suppresses guesses, and
/// certain secrets only where examples of secrets are shown.
#[test]
fn a_time_vouches_for_what_may_be_a_secret() {
    let (token, guess) = (token(), "password: s3cr3t-w0rd\n");
    let files = ["lib/a.rb", "config.yml", "test/fixture"].map(|name| format!("/srv/bundle/gems/a-1.0/{name}"));
    let found = |gem: &str| {
        let specification = format!("/srv/bundle/specifications/{gem}.gemspec");
        let contents = [&token, guess, &token].map(str::as_bytes);
        let mut all: Vec<(&str, &[u8])> = files.iter().map(String::as_str).zip(contents).collect();
        all.push((&specification, b""));
        let root = root(&all);
        scan(root.path(), 1).findings.into_iter().map(|finding| finding.path.display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found("a-1.0"), [files[0].clone()]);
    let mut unknown = files.to_vec();
    unknown.sort();
    assert_eq!(found("b-1.0"), unknown);
}

fn published_digest(content: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(crate::digest::Sha256::of(content.as_bytes()).0)
}

#[test]
fn what_is_secret_as_a_file_is_found_once() {
    let store = b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x01";
    assert_eq!(found_in("/opt/app/shop.p12", store), [(None, "keystore".to_string())]);
    assert_eq!(found_in("/opt/app/shop.ovpn", b"client\n"), [(None, "openvpn-profile".to_string())]);
    let key = samples::pem("PRIVATE KEY", 1_600);
    assert_eq!(found_in("/opt/app/shop.ovpn", format!("client\n<key>\n{key}</key>\n").as_bytes()), [(Some(3), "private-key".to_string())]);
    // A cache of tokens has many lines, each of which several rules find.
    let token = samples::mixed(40);
    let cache = format!("{{\n\"a\": {{\"secret\": \"{token}\"}},\n\"b\": {{\"client_secret\": \"{token}\"}}\n}}\n");
    assert_eq!(found_in("/root/.azure/msal_token_cache.json", cache.as_bytes()), [(Some(1), "secret-file".to_string())]);
    assert_eq!(found_in("/etc/credstore/tls.key", key.as_bytes()), [(Some(1), "secret-file".to_string())]);
    let keytab = [&b"\x05\x02\0\0\0\x39"[..], token.as_bytes()].concat();
    assert_eq!(found_in("/etc/credstore/host.keytab", &keytab), [(None, "keystore".to_string())]);
}

/// A token in its own form, in a place that a rule knows.
#[test]
fn a_secret_that_several_rules_find_is_reported_once() {
    let npm = format!("{}_{}", "npm", samples::letters(36).to_lowercase());
    assert_eq!(found_in("/root/.npmrc", format!("//npm.internal/:_authToken={npm}\n").as_bytes()).len(), 1);
    let jwt = format!("{}.{}.{}", "eyJhbGciOiJIUzI1NiJ9", format_args!("eyJ{}", samples::letters(60)), samples::letters(43));
    assert_eq!(found_in("/root/.kube/config", format!("users:\n- user:\n    token: {jwt}\n").as_bytes()).len(), 1);
    let pair = format!("a = {0}; b = {0}\n", token());
    assert_eq!(found_in("/opt/app/x", pair.as_bytes()), [(Some(1), "github-pat".to_string())]);
    let two = format!("a = {}; b = {}_{}\n", token(), "sk_live", samples::letters(24));
    assert_eq!(found_in("/opt/app/x", two.as_bytes()).len(), 2, "two things in one line are two findings");
}

#[test]
fn keys_of_the_tests_of_python_itself_are_published() {
    let key = samples::pem("RSA PRIVATE KEY", 1_600);
    let found = |path: &str| found_in(path, key.as_bytes()).len();
    for path in ["/root/.pyenv/versions/3.11.7/lib/python3.11/test/certdata/keycert.pem", "/usr/local/lib/python2.7/test/ssl_key.pem"] {
        assert_eq!(found(path), 0, "{path}");
    }
    for path in ["/opt/lib/python3.11/site-packages/test/a.pem", "/opt/lib/python3.11/test/id_rsa", "/opt/lib/python-shop/test/a.pem"] {
        assert_eq!(found(path), 1, "{path}");
    }
}

/// Git stores no names with committed content, so it may be configuration.
#[test]
fn guesses_about_what_was_once_committed() {
    use std::io::Write as _;
    let mut object = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    write!(object, "blob 99\0import os\nclient_secret = \"{}\"\n", samples::mixed(40)).unwrap();
    let object = object.finish().unwrap();
    let name = format!("/srv/shop/.git/objects/0a/{}", "1b".repeat(19));
    assert_eq!(found_in(&name, &object), [(None, "generic-api-key".to_string())]);
    assert_eq!(found_in(&name.replace("/srv/shop", "/srv/shop/web/tests"), &object), []);
}

/// The layers of a container are in the image, each with its own /etc.
#[test]
fn the_layers_of_a_container_are_judged_as_roots() {
    let shadow = "root:$6$abcdefgh$ijklmnopqrstuvwxyzijklmnopqrstuvwxyz:19000::::::\n";
    let layer = "/var/lib/docker/overlay2/0a/diff";
    assert_eq!(found_in(&format!("{layer}/etc/shadow"), shadow.as_bytes()), [(Some(1), "shadow-password".to_string())]);
}

/// `base64 key.pem` wraps lines, and a manifest indents them.
#[test]
fn finds_a_key_in_base64_however_it_is_wrapped() {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(samples::pem("RSA PRIVATE KEY", 1600));
    let found = [(Some(1), "private-key-base64".to_string())];
    for columns in [64, 76, text.len()] {
        let lines: Vec<_> = text.as_bytes().chunks(columns).map(String::from_utf8_lossy).collect();
        assert_eq!(found_in("/opt/key.b64", lines.join("\n").as_bytes()), found, "{columns}");
        let block = format!("tls.key: {}\nothername: shop\n", lines.join("\n    "));
        assert_eq!(found_in("/opt/secret.yaml", block.as_bytes()), found, "{columns}");
        let block = format!("tls.key: |\n    {}\nothername: shop\n", lines.join("\n    "));
        assert_eq!(found_in("/opt/secret.yaml", block.as_bytes()), [(Some(2), found[0].1.clone())], "{columns}");
    }
}

/// The allow list of an image requires reasons; a comment in a file has none.
#[test]
fn heeds_no_comment_that_allows() {
    assert_eq!(found_in("/opt/x", format!("{} # gitleaks:allow", token()).as_bytes()).len(), 1);
}

#[test]
fn a_credential_that_is_loaded_is_named_only_and_ingot_holds_the_rules_themselves() {
    let unit = "/etc/systemd/system/shop.service";
    assert_eq!(found_in(unit, b"[Service]\nLoadCredential=shop-token\n"), []);
    assert_eq!(found_in(unit, format!("[Service]\nEnvironment=SHOP_TOKEN={}\n", samples::mixed(24)).as_bytes()).len(), 1);
    assert_eq!(found_in("/usr/bin/ingot", token().as_bytes()), []);
}
