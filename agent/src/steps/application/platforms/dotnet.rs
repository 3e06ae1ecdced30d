//! .NET on Linux: the application that a `runtimeconfig.json` belongs to.

use super::platform::{Launch, Platform, Program, file_name};
use crate::steps::application::release::Release;
use crate::steps::application::remark::Remark;

/// The file that `dotnet publish` writes next to the assembly of an application, but not of a library.
const SIGN: &str = ".runtimeconfig.json";

const DOTNET: Program = Program::new("dotnet");

pub(super) fn dotnet(release: &Release) -> Option<Platform> {
    let signs: Vec<&str> = release.ending(SIGN).collect();
    let sign = *signs.first()?;
    Some(Platform::new(".NET", sign, launch(release, &signs)))
}

/// Kestrel reads its addresses from `ASPNETCORE_URLS`, even if the program does not pass its arguments on.
///
/// Source: <https://learn.microsoft.com/aspnet/core/fundamentals/servers/kestrel/endpoints>
fn launch(release: &Release, signs: &[&str]) -> Result<Launch, Remark> {
    let assembly = |sign: &str| format!("{}.dll", sign.strip_suffix(SIGN).unwrap_or(sign));
    match signs {
        [sign] if release.is_file(&assembly(sign)) => {
            let command = format!("ASPNETCORE_URLS=http://127.0.0.1:$PORT exec dotnet {}", file_name(&assembly(sign)));
            Ok(Launch::web(command, &[DOTNET]))
        }
        [sign] => {
            let hint = "bundle the whole output of `dotnet publish`, or add a Procfile";
            Err(Remark::of(*sign, format!("{} is missing beside it", assembly(sign)), hint))
        }
        _ => {
            let names: Vec<String> = signs.iter().map(|sign| assembly(sign)).collect();
            let message = format!("there are {} applications and no Procfile: {}", names.len(), names.join(", "));
            Err(Remark::new(message, "add a Procfile with a line such as `web: dotnet Shop.dll --urls http://127.0.0.1:$PORT`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch_of(files: &[(&str, &str)]) -> Result<Launch, Remark> {
        dotnet(&Release::of(files)).unwrap().launch
    }

    #[test]
    fn the_one_application_listens_on_the_port() {
        let launch = launch_of(&[("Shop.runtimeconfig.json", ""), ("Shop.dll", ""), ("Library.dll", "")]).unwrap();
        assert_eq!(launch.processes[0].command, "ASPNETCORE_URLS=http://127.0.0.1:$PORT exec dotnet Shop.dll");
    }

    #[test]
    fn several_or_none_are_a_mistake() {
        let said = |files: &[(&str, &str)]| launch_of(files).unwrap_err().to_string();
        assert_eq!(said(&[("Shop.runtimeconfig.json", "")]), "Shop.runtimeconfig.json: Shop.dll is missing beside it");
        let two = [("A.runtimeconfig.json", ""), ("B.runtimeconfig.json", "")];
        assert_eq!(said(&two), "there are 2 applications and no Procfile: A.dll, B.dll");
    }
}
