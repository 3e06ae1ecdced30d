//! Which keys are chosen. `tests/boot/test_caller.py` runs botocore to check that it chooses the same ones.

use super::*;

const CREDENTIALS: &str = "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = a/b+c=;d\\#\n\n[work]\naws_access_key_id=AKIAWORK\naws_secret_access_key=w\naws_session_token=t\n\n[role]\naws_access_key_id=AKIAROLE\naws_secret_access_key=r\n[process]\naws_access_key_id=AKIAPROCESS\naws_secret_access_key=p\n[half]\naws_access_key_id=AKIAHALF\n";
const CONFIG: &str = "[default]\nregion = eu-west-1\ns3 =\n  max_concurrent_requests = 20\n\n[profile work]\nregion = us-east-2\n[profile sso]\nsso_session = corp\nsso_account_id = 1\nsso_role_name = dev\n[sso-session corp]\nsso_start_url = https://x\n[profile role]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = work\n[profile process]\ncredential_process = /bin/x\n[profile \"my own\"]\naws_access_key_id = AKIAOWN\naws_secret_access_key = o\naws_security_token = older\n[profile both]\nlogin_session = x\naws_access_key_id = AKIABOTH\naws_secret_access_key = o\n";

fn chosen(env: &[(&str, &str)], credentials_file: Option<&str>, config_file: Option<&str>) -> Result<String, CallerError> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let caller = Caller { env: &env, credentials_file, config_file };
    Ok(match caller.choice()? {
        Choice::Keys(keys) => format!("{} {} {}", keys.access_key_id(), keys.secret_access_key(), keys.session_token().unwrap_or("-")),
        Choice::Elsewhere { how } => how.to_owned(),
    })
}

fn key(env: &[(&str, &str)]) -> Result<String, CallerError> {
    chosen(env, Some(CREDENTIALS), Some(CONFIG))
}

#[test]
fn keys_are_chosen_in_the_order_of_botocore() {
    let env = [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "e"), ("AWS_SESSION_TOKEN", "s")];
    let profile = |name: &'static str| ("AWS_PROFILE", name);
    assert_eq!(key(&[]).unwrap(), "AKIADEFAULT a/b+c=;d\\# -");
    assert_eq!(key(&env).unwrap(), "AKIAENV e s");
    assert_eq!(key(&[&env[..], &[profile("work")]].concat()).unwrap(), "AKIAENV e s");
    assert_eq!(key(&[&env[..], &[("AWS_SECURITY_TOKEN", "o")]].concat()).unwrap(), "AKIAENV e o");
    assert_eq!(key(&[profile("work")]).unwrap(), "AKIAWORK w t");
    assert_eq!(key(&[profile("role"), ("AWS_DEFAULT_PROFILE", "work")]).unwrap(), "AKIAWORK w t");
    assert_eq!(key(&[profile("my own")]).unwrap(), "AKIAOWN o older");
    assert_eq!(chosen(&[profile("my own")], None, Some(CONFIG)).unwrap(), "AKIAOWN o older");
    assert_eq!(key(&[profile("")]).unwrap(), "AKIADEFAULT a/b+c=;d\\# -");
    assert_eq!(key(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://x")]).unwrap(), "AKIADEFAULT a/b+c=;d\\# -");
    // Keys in the credentials file take precedence over `credential_process`, and a role over keys.
    assert_eq!(key(&[profile("process")]).unwrap(), "AKIAPROCESS p -");
    assert_eq!(key(&[profile("role")]).unwrap(), "role_arn");
}

#[test]
fn what_takes_more_than_reading_is_left_to_the_aws_cli() {
    for (profile, how) in [("sso", "sso_account_id"), ("role", "role_arn"), ("both", "login_session")] {
        assert_eq!(key(&[("AWS_PROFILE", profile)]).unwrap(), how);
    }
    assert_eq!(chosen(&[("AWS_PROFILE", "process")], None, Some(CONFIG)).unwrap(), "credential_process");
    assert_eq!(key(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")]).unwrap(), "AWS_WEB_IDENTITY_TOKEN_FILE");
    let container = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")];
    assert_eq!(chosen(&container, None, None).unwrap(), "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
}

#[test]
fn the_region_of_a_variable_comes_before_that_of_the_profile() {
    let region = |env: &[(&str, &str)]| {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Caller { env: &env, credentials_file: Some(CREDENTIALS), config_file: Some(CONFIG) }.region().unwrap()
    };
    assert_eq!(region(&[]).as_deref(), Some("eu-west-1"));
    assert_eq!(region(&[("AWS_PROFILE", "work")]).as_deref(), Some("us-east-2"));
    assert_eq!(region(&[("AWS_PROFILE", "work"), ("AWS_DEFAULT_REGION", "eu-north-1")]).as_deref(), Some("eu-north-1"));
    assert_eq!(region(&[("AWS_REGION", "eu-south-1"), ("AWS_DEFAULT_REGION", "eu-north-1")]).as_deref(), Some("eu-south-1"));
    assert_eq!(region(&[("AWS_PROFILE", "sso")]), None);
}

#[test]
fn an_error_says_what_to_do() {
    assert_eq!(chosen(&[], None, None).unwrap_err(), CallerError::None);
    assert_eq!(key(&[("AWS_PROFILE", "none")]).unwrap_err(), CallerError::NoKeys { profile: "none".into() });
    assert!(matches!(key(&[("AWS_PROFILE", "half")]).unwrap_err(), CallerError::Half { missing: "aws_secret_access_key", .. }));
    assert!(matches!(key(&[("AWS_ACCESS_KEY_ID", "A")]).unwrap_err(), CallerError::Half { missing: "AWS_SECRET_ACCESS_KEY", .. }));
    assert_eq!(chosen(&[], Some("[default\n"), None).unwrap_err(), CallerError::Syntax { file: "credentials", line: 1 });
    let hint = CallerError::NoCli { profile: Some("my own".into()), how: "sso_account_id" }.hint().unwrap();
    assert_eq!(
        hint,
        "run `eval \"$(aws configure export-credentials --profile 'my own' --format env)\"; unset AWS_PROFILE AWS_DEFAULT_PROFILE`"
    );
}

#[test]
fn exported_credentials_are_found_among_other_lines() {
    let found = |text: &str| {
        let lines: Vec<_> = text.lines().map(|line| Zeroizing::new(line.to_owned())).collect();
        exported(&lines).map(|keys| format!("{} {} {:?}", keys.access_key_id(), keys.secret_access_key(), keys.session_token()))
    };
    let json = "{\n  \"Version\": 1,\n  \"AccessKeyId\": \"ASIA1\",\n  \"SecretAccessKey\": \"s}\",\n  \"SessionToken\": \"t\"\n}";
    assert_eq!(found(json).unwrap(), "ASIA1 s} Some(\"t\")");
    assert_eq!(found(&format!("a warning\n{json}\nanother }}")).unwrap(), "ASIA1 s} Some(\"t\")");
    assert_eq!(found("{\"AccessKeyId\": \"A\", \"SecretAccessKey\": \"s\"}").unwrap(), "A s None");
    assert_eq!(found("no credentials {}"), None);
}
