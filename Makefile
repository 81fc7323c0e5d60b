# Kubernetes on Mesos. The work is done by `python3 -m tools` (standard library only).
PYTHON ?= python3
STACK ?= local
RELEASE ?= bookworm
TOOLS := $(PYTHON) -m tools
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup up preview trust bundle down enter kubeconfig env doctor check test format bench lock mesos-archive clean

help: ## This list
	@echo "make TARGET [STACK=local]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install everything into caches outside this checkout (inside up; REFRESH=yes asks for Pulumi's own plugins again)
	@$(TOOLS) setup $(STACK) $(if $(REFRESH),--refresh)

up: ## Bring the stack up, and show that it answers
	@$(TOOLS) up $(STACK)

preview: ## Show what up would change; touches no host
	@$(TOOLS) preview $(STACK)

trust: setup ## Read the SSH host keys of a stack's machines once, and write them into its file
	@.venv/bin/python -m preflight trust --stack $(STACK)

bundle: ## All that machines without the internet need, in one file (STACK=metal RELEASE="bookworm trixie")
	@$(TOOLS) bundle $(if $(filter file,$(origin STACK)),metal,$(STACK)) $(RELEASE)

down: ## Take everything of the stack away
	@$(TOOLS) down $(STACK)

# As it is: neither make nor the shell of this machine has anything to do with it.
enter: export ON_HOST = $(value COMMAND)
enter: ## A shell on a host of the lab (HOST=control-1), or one command (COMMAND='journalctl -u km-scheduler')
	@$(TOOLS) enter $(STACK) "$(HOST)" "$$ON_HOST"

kubeconfig: ## Print the path of a working kubeconfig
	@$(TOOLS) kubeconfig $(STACK)

env: ## Print what makes plain pulumi and kubectl work: eval "$(make -s env)"
	@$(TOOLS) env $(STACK)

doctor: ## Say what is installed, from where, and what is a stand-in here
	@$(TOOLS) doctor $(STACK)

check: ## Linters and type checkers
	@$(TOOLS) check

test: ## check, and every test that this machine can run (ARGS=tests/unit for some; SLOW=1 for the slow ones, too)
	@$(TOOLS) test $(ARGS)

format: ## Bring the code into its form
	@$(TOOLS) format

bench: ## Measure the figures of docs/figures.md
	@$(TOOLS) bench $(STACK) $(ARGS)

lock: ## Write tools/releases.lock from the publishers' checksum files
	@$(TOOLS) lock

mesos-archive: ## Pack the lab's build of Mesos for other stacks; prints what their files say
	@$(TOOLS) mesos-archive

clean: ## Remove what belongs to this checkout alone; caches stay
	@$(TOOLS) clean
