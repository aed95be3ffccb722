//! Braces of globs, expanded before anything is matched, as a shell does.

/// Braces expand to no more than this many globs.
const MAX_ALTERNATIVES: usize = 1024;
/// ... of no more than this many bytes in all.
const MAX_EXPANDED: usize = 64 * 1024;

/// Why a glob cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the braces stand for more than {MAX_ALTERNATIVES} patterns")]
pub struct TooManyAlternatives;

/// Expands braces as bash does, `\` protecting the next byte: `a{b,c}` is `ab` and
/// `ac`. Braces without a comma are themselves.
pub fn expand(text: &[u8]) -> Result<Vec<Vec<u8>>, TooManyAlternatives> {
    let mut done = Vec::new();
    let mut todo = vec![(text.to_vec(), 0)];
    let mut bytes = 0;
    while let Some((text, from)) = todo.pop() {
        let Some(group) = brace_group(&text, from) else {
            bytes += text.len();
            done.push(text);
            if done.len() > MAX_ALTERNATIVES || bytes > MAX_EXPANDED {
                return Err(TooManyAlternatives);
            }
            continue;
        };
        if todo.len() + group.commas.len() > MAX_ALTERNATIVES
            || (todo.len() + group.commas.len()) * text.len() > 16 * MAX_EXPANDED
        {
            return Err(TooManyAlternatives);
        }
        // The last alternative is pushed first, so they come out as written.
        let mut ends = group.commas;
        ends.insert(0, group.open);
        ends.push(group.close);
        for pair in ends.windows(2).rev() {
            let &[before, after] = pair else { continue };
            let mut one = text[..group.open].to_vec();
            one.extend_from_slice(&text[before + 1..after]);
            one.extend_from_slice(&text[group.close + 1..]);
            todo.push((one, group.open));
        }
    }
    Ok(done)
}

struct Braces {
    open: usize,
    commas: Vec<usize>,
    close: usize,
}

/// The first outermost group with a comma at or after `from`, found in one pass.
fn brace_group(text: &[u8], from: usize) -> Option<Braces> {
    let mut open: Vec<Braces> = Vec::new();
    let mut found: Option<Braces> = None;
    let mut at = from;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'{' => open.push(Braces {
                open: at,
                commas: Vec::new(),
                close: 0,
            }),
            b',' => {
                if let Some(group) = open.last_mut() {
                    group.commas.push(at);
                }
            }
            b'}' => {
                if let Some(mut group) = open.pop()
                    && !group.commas.is_empty()
                {
                    group.close = at;
                    // An outer group begins earlier and takes the place of an inner one.
                    if found.as_ref().is_none_or(|f| group.open < f.open) {
                        found = Some(group);
                    }
                    if open.is_empty() {
                        return found;
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}
