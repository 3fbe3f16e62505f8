//! Splits shell scripts into commands and words. Supports only the syntax that the documentation uses.

/// Keywords and commands that may precede the name of a program.
const PREFIXES: [&str; 11] = [
    "!", "do", "elif", "else", "exec", "if", "nohup", "sudo", "then", "until", "while",
];

/// The words of the simple commands of a script, without assignments, redirections and comments. Expansions are left
/// unexpanded; commands in `$(...)` and `<(...)` outside of quotes are commands of their own.
pub fn commands(script: &str) -> Vec<Vec<String>> {
    let mut splitter = Splitter::default();
    let mut chars = script.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('\n') | None => {}
                Some(escaped) => splitter.push(escaped),
            },
            '\'' => splitter.text(chars.by_ref().take_while(|c| *c != '\'')),
            '"' => {
                splitter.text(std::iter::empty());
                while let Some(c) = chars.next_if(|c| *c != '"') {
                    let escaped = c == '\\' && chars.peek() == Some(&'"');
                    splitter.push(if escaped { '"' } else { c });
                    if escaped {
                        chars.next();
                    }
                }
                chars.next();
            }
            '#' if splitter.word.is_none() => while chars.next_if(|c| *c != '\n').is_some() {},
            '>' | '<' if chars.peek() != Some(&'(') => {
                splitter.redirect();
                while chars.next_if(|c| ['>', '<', '&'].contains(c)).is_some() {}
            }
            '<' => {}
            '$' if chars.peek() == Some(&'(') => splitter.end_command(),
            '\n' | ';' | '&' | '|' | '(' | ')' | '`' => splitter.end_command(),
            c if c.is_whitespace() => splitter.end_word(),
            c => splitter.push(c),
        }
    }
    splitter.end_command();
    splitter.commands
}

#[derive(Default)]
struct Splitter {
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    word: Option<String>,
    /// The next word is the target of a redirection.
    redirected: bool,
}

impl Splitter {
    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn text(&mut self, text: impl Iterator<Item = char>) {
        self.word.get_or_insert_default().extend(text);
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take()
            && !std::mem::take(&mut self.redirected)
        {
            self.words.push(word);
        }
    }

    /// A number right before the operator belongs to it.
    fn redirect(&mut self) {
        let is_number = |word: &String| word.chars().all(|c| c.is_ascii_digit());
        if self.word.as_ref().is_some_and(is_number) {
            self.word = None;
        }
        self.end_word();
        self.redirected = true;
    }

    fn end_command(&mut self) {
        self.end_word();
        self.redirected = false;
        let words = std::mem::take(&mut self.words).into_iter();
        let command: Vec<String> = words
            .skip_while(|word| PREFIXES.contains(&word.as_str()) || is_assignment(word))
            .collect();
        if !command.is_empty() {
            self.commands.push(command);
        }
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[test]
fn scripts_are_split_into_commands_and_words() {
    let script = "A=1 atq run a.json --set 'x=[1, 2]' \\\n  --env \"B=$C \\\"d\\\"\" # why\n\
                  while atq ps 2>/dev/null | grep -q x; do sleep 1; done && diff <(atq show a) $(atq show b) > out\n";
    let found = commands(script);
    let expected: [&[&str]; 8] = [
        &[
            "atq",
            "run",
            "a.json",
            "--set",
            "x=[1, 2]",
            "--env",
            "B=$C \"d\"",
        ],
        &["atq", "ps"],
        &["grep", "-q", "x"],
        &["sleep", "1"],
        &["done"],
        &["diff"],
        &["atq", "show", "a"],
        &["atq", "show", "b"],
    ];
    assert_eq!(found, expected);
}
