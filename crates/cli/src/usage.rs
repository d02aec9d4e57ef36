//! The command line: wrong ones are answered with what the command needs, and not with the options that every command has.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, Parser};

/// Parses the arguments, the program's name first.
pub(crate) fn parse<C: Parser + CommandFactory>(arguments: &[OsString]) -> Result<C, clap::Error> {
    C::try_parse_from(arguments).map_err(|mut error| {
        if error.get(ContextKind::Usage).is_some() {
            let usage = usage(C::command(), arguments);
            error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
        }
        if error.kind() == ErrorKind::UnknownArgument
            && let Some(option) = arguments
                .iter()
                .skip(1)
                .find_map(|argument| one_dash(argument.to_str()?))
        {
            let tip = StyledStr::from(format!("use --{option}, with two dashes"));
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
            error.remove(ContextKind::SuggestedArg);
        }
        error
    })
}

/// Whether programs are to read what is printed, as far as a wrong command line tells.
pub(crate) fn wants_json(arguments: &[OsString]) -> bool {
    let is_json = |pair: &[OsString]| pair[0] == "--output" && pair[1] == "json";
    arguments.windows(2).any(is_json) || arguments.iter().any(|argument| argument == "--output=json")
}

/// The usage of the command that was meant. What clap says by itself names the options that stand in the environment.
fn usage(mut command: Command, arguments: &[OsString]) -> StyledStr {
    command.build();
    let mut at = &mut command;
    for argument in arguments.iter().skip(1) {
        let name = argument.to_str().unwrap_or_default();
        if at.find_subcommand(name).is_some() {
            at = at.find_subcommand_mut(name).expect("it was found just now");
        }
    }
    at.render_usage()
}

/// The name of an option in Vault's style: `-field=x`.
fn one_dash(argument: &str) -> Option<&str> {
    let name = argument.strip_prefix('-')?.split('=').next()?;
    let is_name = name.len() > 1 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    (is_name && !name.starts_with('-')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> String {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = parse::<crate::Cli>(&arguments).err().unwrap();
        error.render().to_string()
    }

    #[test]
    fn usage_is_of_the_command_and_names_no_global_option() {
        let text = refused("aumbry kv put secret/x --address a:1");
        assert!(
            text.contains("Usage: aumbry kv put [OPTIONS] <PATH> <DATA>..."),
            "{text}"
        );
        assert!(!text.contains("--address") && !text.contains("--ca-cert"), "{text}");
    }

    #[test]
    fn an_option_with_one_dash_gets_a_tip() {
        for (line, tip) in [
            ("aumbry kv get -field=x secret/a", "use --field,"),
            ("aumbry kv get -version=1 secret/a", "use --version,"),
            ("aumbry token create -policy x", "use --policy,"),
        ] {
            let text = refused(line);
            assert!(text.contains(tip), "{text}");
        }
        assert!(!refused("aumbry kv get --feild x secret/a").contains("two dashes"));
    }

    #[test]
    fn programs_are_told_in_their_form() {
        let wants = |line: &str| wants_json(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(wants("aumbry --output json kv") && wants("aumbry kv --output=json"));
        assert!(!wants("aumbry kv --output table json"));
    }
}
