//! Which instance this is, as far as the machine itself knows: from DMI, without network.
//!
//! The result is a key for this instance's records, not a fact for documents: facts come from the identity document of
//! the metadata service.

use std::path::Path;

use super::files::Files;

/// What DMI reports for this instance: its id on Nitro (`i-…`), its UUID on Xen (`ec2…`), `None` elsewhere.
///
/// Source: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html>
pub(crate) async fn dmi(files: &dyn Files) -> Option<String> {
    let field = async |name: &str| line(files, &format!("/sys/class/dmi/id/{name}")).await;
    if field("sys_vendor").await.as_deref() == Some("Amazon EC2")
        && let Some(id) = field("board_asset_tag").await.filter(|tag| is_instance_id(tag))
    {
        return Some(id);
    }
    // Only root may read it.
    let uuid = field("product_uuid").await?.to_ascii_lowercase();
    let is_uuid = uuid.len() == 36 && uuid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    (uuid.starts_with("ec2") && is_uuid).then_some(uuid)
}

/// The machine id, for a machine that is not an instance. `None` until systemd has assigned one.
pub(crate) async fn machine_id(files: &dyn Files) -> Option<String> {
    let id = line(files, "/etc/machine-id").await?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// Old ids have eight digits, current ones seventeen.
fn is_instance_id(tag: &str) -> bool {
    tag.strip_prefix("i-").is_some_and(|id| matches!(id.len(), 8 | 17) && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

async fn line(files: &dyn Files, path: &str) -> Option<String> {
    match files.read(Path::new(path), 4096).await {
        Ok(content) => Some(std::str::from_utf8(&content?).ok()?.trim().to_owned()),
        Err(error) => {
            log::debug!("{error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::DiskFiles;
    use super::*;

    async fn dmi_of(fields: &[(&str, &str)]) -> Option<String> {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("sys/class/dmi/id");
        std::fs::create_dir_all(&directory).unwrap();
        for (name, value) in fields {
            std::fs::write(directory.join(name), format!("{value}\n")).unwrap();
        }
        dmi(&DiskFiles::new(Some(root.path().to_owned()))).await
    }

    #[tokio::test]
    async fn nitro_says_its_instance_id() {
        let fields = [("sys_vendor", "Amazon EC2"), ("board_asset_tag", "i-0abc123def4567890"), ("product_uuid", "ec2e1916")];
        assert_eq!(dmi_of(&fields).await.as_deref(), Some("i-0abc123def4567890"));
    }

    #[tokio::test]
    async fn xen_says_its_uuid() {
        let fields = [("sys_vendor", "Xen"), ("product_uuid", "EC2E1916-9099-7CAF-FD21-012345ABCDEF")];
        assert_eq!(dmi_of(&fields).await.as_deref(), Some("ec2e1916-9099-7caf-fd21-012345abcdef"));
    }

    #[tokio::test]
    async fn another_machine_says_nothing() {
        assert_eq!(dmi_of(&[]).await, None);
        assert_eq!(dmi_of(&[("sys_vendor", "LENOVO"), ("board_asset_tag", "i-0abc123def4567890")]).await, None);
        assert_eq!(dmi_of(&[("sys_vendor", "Amazon EC2"), ("board_asset_tag", "i-../../etc")]).await, None);
        assert_eq!(dmi_of(&[("product_uuid", "ec2/../../x")]).await, None);
    }

    #[tokio::test]
    async fn a_sealed_image_has_no_machine_id() {
        let root = tempfile::tempdir().unwrap();
        let files = DiskFiles::new(Some(root.path().to_owned()));
        assert_eq!(machine_id(&files).await, None);
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/machine-id"), "uninitialized\n").unwrap();
        assert_eq!(machine_id(&files).await, None);
        std::fs::write(root.path().join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
        assert_eq!(machine_id(&files).await.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    }
}
