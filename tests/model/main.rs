//! The model by hand: a table of all variants, the full bound, or the history that breaks one.

use std::io::{self, Write};
use std::process::ExitCode;

use pageferry_model::check::check;
use pageferry_model::variants::{GAPS, LARGE, REDUNDANT, Variant, WEAK, WHOLE};

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut out = io::stdout().lock();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => table(&mut out, &[WHOLE, WEAK, GAPS, REDUNDANT]),
        ["full"] => table(&mut out, &[LARGE]),
        ["show", name] => show(&mut out, name),
        _ => {
            writeln!(out, "usage: pageferry-model [full | show VARIANT]")?;
            Ok(ExitCode::from(2))
        }
    }
}

fn table(out: &mut impl Write, parts: &[&[Variant]]) -> io::Result<ExitCode> {
    let mut as_said = true;
    for variant in parts.iter().flat_map(|part| part.iter()) {
        let outcome = check(variant, 2);
        as_said &= outcome.broken.as_ref().map(|(name, _)| *name) == variant.breaks;
        writeln!(out, "{:<20} {outcome}  ({})", variant.name, variant.lacks)?;
    }
    Ok(if as_said { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(out: &mut impl Write, name: &str) -> io::Result<ExitCode> {
    let mut all = [WHOLE, WEAK, GAPS, REDUNDANT, LARGE].into_iter().flatten();
    let Some(variant) = all.find(|variant| variant.name == name) else {
        writeln!(out, "no variant is called {name}")?;
        return Ok(ExitCode::from(2));
    };
    let outcome = check(variant, 1);
    writeln!(out, "{:<20} {outcome}  ({})", variant.name, variant.lacks)?;
    for (number, action) in outcome.broken.iter().flat_map(|(_, path)| path).enumerate() {
        writeln!(out, "{:>4}  {action:?}", number + 1)?;
    }
    Ok(ExitCode::SUCCESS)
}
