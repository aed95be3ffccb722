# fish completion for incronctl(8)
set -l commands status simulate reload
set -l none "not __fish_seen_subcommand_from $commands"
complete -c incronctl -f
complete -c incronctl -n "$none" -a status -d 'Show workers and lines'
complete -c incronctl -n "$none" -a simulate -d 'Show what a table would run for events'
complete -c incronctl -n "$none" -a reload -d 'Have incrond read a table again'
complete -c incronctl -s f -l config -r -F -d 'Configuration file'
complete -c incronctl -l user -d 'The incrond that the caller runs with --user'
complete -c incronctl -s h -l help -d 'Print a summary of the options'
complete -c incronctl -n "$none" -s '?' -l about -d 'Print what this program is'
complete -c incronctl -n "$none" -s V -l version -d 'Print the version'
complete -c incronctl -n '__fish_seen_subcommand_from status' -l json -d 'Print everything as one JSON object'
complete -c incronctl -n '__fish_seen_subcommand_from status' -l line -x -d 'Show one line, with every figure'
complete -c incronctl -n '__fish_seen_subcommand_from simulate' -F
complete -c incronctl -n '__fish_seen_subcommand_from reload' -a '(__fish_complete_users)'
