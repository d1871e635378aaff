# SPDX-License-Identifier: Apache-2.0
# bash completion for bvisor(1)

_bvisor_command_at() { # sets i to the index of the guest's command in COMP_WORDS, if there is one
	for ((i = 2; i <= COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--) ((i++)); return 0 ;;
		-c | --config | -o | --option | -e | --env | --rw | --ro | --hide | --bind | --net | --allow | --quota | --audit | -C | --chdir | --name) ((i++)) ;;
		-*) ;;
		*) return 0 ;;
		esac
	done
	return 1
}

_bvisor_names() {
	bvisor ls 2>/dev/null | awk 'NR > 1 {print $1}'
}

_bvisor() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} sub=${COMP_WORDS[1]} i
	local run='-c --config -o --option -e --env --env-all --rw --ro --hide --bind --net --allow --quota --audit -t --tty --wait-all
		--name --diff --diff=text --diff=json --diff=stat --diff=patch -C --chdir -v --verbose -q --quiet -h --help --'
	local look='-c --config -o --option --json -h --help'
	COMPREPLY=()

	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W 'run shell diff commit rollback snapshot fork merge export import exec allow ps log ls rm serve mcp check modules routes help version --help --version' -- "$cur")
		return
	fi
	case $sub in
	run | shell)
		if _bvisor_command_at && ((COMP_CWORD >= i)); then
			if declare -F _command_offset >/dev/null; then
				_command_offset "$i"
			elif ((COMP_CWORD == i)); then
				mapfile -t COMPREPLY < <(compgen -c -- "$cur")
			else
				mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			fi
			return
		fi
		;;
	help)
		mapfile -t COMPREPLY < <(compgen -W 'run shell diff commit rollback snapshot fork merge export import exec ps log ls rm serve mcp check modules routes help version' -- "$cur")
		return
		;;
	esac
	case $prev in
	-c | --config | --hide | --bind) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
	--rw | --ro | -C | --chdir) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
	--allow) mapfile -t COMPREPLY < <(compgen -A hostname -- "$cur"); return ;;
	--net) mapfile -t COMPREPLY < <(compgen -W 'none host' -- "$cur"); return ;;
	-e | --env) mapfile -t COMPREPLY < <(compgen -e -- "$cur"); return ;;
	-o | --option | -x | --exclude | --into) return ;;
	--oci) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
	--name | --prefer) mapfile -t COMPREPLY < <(compgen -W "$(_bvisor_names)" -- "$cur"); return ;;
	esac
	case $sub in
	run | shell) mapfile -t COMPREPLY < <(compgen -W "$run" -- "$cur") ;;
	mcp) mapfile -t COMPREPLY < <(compgen -W '--name --net --allow --hide --quota --env-all --yes -c --config -h --help' -- "$cur") ;;
	serve) mapfile -t COMPREPLY < <(compgen -W '--fd --socket -h --help' -- "$cur") ;;
	diff)
		if [[ $cur == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "--json --stat -p --patch --who $run" -- "$cur")
		else
			mapfile -t COMPREPLY < <(compgen -W "$(_bvisor_names)" -- "$cur")
		fi
		;;
	commit | rollback | snapshot | fork | allow | merge | export | import | log | rm)
		if [[ $cur == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "-n --dry-run -f --force -x --exclude -v --verbose --into --prefer --oci -c --config -o --option -h --help" -- "$cur")
		elif ((COMP_CWORD == 2)) || [[ $sub == rm || $sub == merge ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_bvisor_names)" -- "$cur")
		else
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		fi
		;;
	exec)
		if [[ $cur == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W '-e --env --env-all -C --chdir -t --tty -c --config -o --option -h --help --' -- "$cur")
		elif ((COMP_CWORD == 2)); then
			mapfile -t COMPREPLY < <(compgen -W "$(_bvisor_names)" -- "$cur")
		else
			mapfile -t COMPREPLY < <(compgen -c -- "$cur")
		fi
		;;
	ps) mapfile -t COMPREPLY < <(compgen -W "$look $(_bvisor_names)" -- "$cur") ;;
	ls) mapfile -t COMPREPLY < <(compgen -W "$look -s --size" -- "$cur") ;;
	check) mapfile -t COMPREPLY < <(compgen -W "$look" -- "$cur") ;;
	modules | routes)
		if [[ $cur == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$look" -- "$cur")
		elif [[ $sub == routes ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(bvisor routes 2>/dev/null | awk '{print $2}')" -- "$cur")
		else
			mapfile -t COMPREPLY < <(compgen -W "core $(bvisor modules 2>/dev/null | awk '/^[a-z]/ {print $1}')" -- "$cur")
		fi
		;;
	esac
}
complete -F _bvisor bvisor
