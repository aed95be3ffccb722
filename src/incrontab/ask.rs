//! Questions to the person at the keyboard.
//!
//! A question has a safe answer, which is taken at the end of the input: a
//! script that runs `incrontab -e` with an editor of its own never hangs here.

use std::io::{self, BufRead, Write};

/// Asks and answers on these; the program uses standard error and input.
pub struct Prompt<'a> {
    /// Questions and messages.
    pub out: &'a mut dyn Write,
    /// Answers, one a line.
    pub input: &'a mut dyn BufRead,
}

/// What Enter alone means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// `[Y/n]`
    Yes,
    /// `[y/N]`
    No,
}

impl Prompt<'_> {
    /// A line for the person. A terminal that is gone is no reason to fail.
    pub fn say(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }

    /// Asks until the answer is yes or no. End of input and errors are no.
    pub fn yes(&mut self, question: &str, default: Default) -> bool {
        let choices = if default == Default::Yes {
            "[Y/n]"
        } else {
            "[y/N]"
        };
        loop {
            let _ = write!(self.out, "{question} {choices} ");
            let _ = self.out.flush();
            let Some(answer) = read_answer(self.input).ok().flatten() else {
                let _ = writeln!(self.out);
                return false;
            };
            match answer.as_str() {
                "" => return default == Default::Yes,
                "y" | "yes" => return true,
                "n" | "no" => return false,
                _ => self.say("Please answer y or n."),
            }
        }
    }
}

/// One line, in lower case without blanks; None at the end of the input.
fn read_answer(input: &mut dyn BufRead) -> io::Result<Option<String>> {
    /// Enough for "yes"; the rest of a longer line is read and dropped.
    const KEPT: usize = 16;
    let mut answer = Vec::new();
    let mut seen = false;
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if chunk.is_empty() {
            break;
        }
        seen = true;
        let end = chunk.iter().position(|&b| b == b'\n');
        let line = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
        answer.extend(line.iter().take(KEPT.saturating_sub(answer.len())));
        let used = end.map_or(chunk.len(), |n| n + 1);
        input.consume(used);
        if end.is_some() {
            break;
        }
    }
    Ok(seen.then(|| String::from_utf8_lossy(&answer).trim().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yes(input: &str, default: Default) -> (bool, String) {
        let mut out = Vec::new();
        let mut input = input.as_bytes();
        let answer = Prompt {
            out: &mut out,
            input: &mut input,
        }
        .yes("Sure?", default);
        (answer, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn enter_means_the_default() {
        assert!(yes("\n", Default::Yes).0);
        assert!(!yes("\n", Default::No).0);
    }

    #[test]
    fn asks_again_until_it_understands() {
        let (answer, out) = yes("what\n  YES \n", Default::No);
        assert!(answer);
        assert_eq!(out.matches("Sure? [y/N]").count(), 2);
    }

    #[test]
    fn end_of_input_is_no_even_where_enter_is_yes() {
        assert!(!yes("", Default::Yes).0);
        assert!(!yes("maybe\n", Default::Yes).0);
    }

    #[test]
    fn a_long_answer_is_one_answer() {
        let flood = format!("{}\ny\n", "n".repeat(1 << 20));
        let (answer, out) = yes(&flood, Default::No);
        assert!(answer);
        assert_eq!(out.matches("Please answer").count(), 1);
    }
}
