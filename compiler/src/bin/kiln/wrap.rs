//! Line breaks between words, where a command in backticks is one word: it can be copied as it stands.

use textwrap::core::Word;
use textwrap::{Options, WordSeparator, WordSplitter};

/// Columns of the descriptions of options; the options themselves stand before or above.
const HELP: usize = 90;

/// The words of a line, each with the spaces behind it.
pub(crate) fn words(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    let mut rest = line;
    Box::new(std::iter::from_fn(move || {
        let (mut quoted, mut ended, mut end) = (false, false, rest.len());
        for (at, c) in rest.char_indices() {
            if ended && c != ' ' {
                end = at;
                break;
            }
            // A backtick that nothing closes quotes nothing.
            quoted = if c == '`' { !quoted && rest[at + 1..].contains('`') } else { quoted };
            ended = c == ' ' && !quoted;
        }
        let (word, others) = rest.split_at(end);
        rest = others;
        (!word.is_empty()).then(|| Word::from(word))
    }))
}

/// The command with the descriptions of all options in lines that leave commands whole.
pub(crate) fn help(command: clap::Command) -> clap::Command {
    let options =
        Options::new(HELP).word_separator(WordSeparator::Custom(words)).word_splitter(WordSplitter::NoHyphenation);
    let options = options.break_words(false);
    command.mut_subcommands(|verb| {
        verb.mut_args(|arg| match arg.get_help().map(ToString::to_string) {
            Some(text) => arg.help(textwrap::fill(&text, &options)),
            None => arg,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_backticks_is_one_word() {
        let split = |line: &'static str| words(line).map(|word| word.word.to_owned()).collect::<Vec<_>>();
        assert_eq!(split("run `kiln zoo --stats  x`, then stop"), ["run", "`kiln zoo --stats  x`,", "then", "stop"]);
        assert_eq!(split("  a lone ` is none"), ["", "a", "lone", "`", "is", "none"]);
        assert_eq!(split("a `b c` `d e"), ["a", "`b c`", "`d", "e"]);
        assert!(split("").is_empty());
    }
}
