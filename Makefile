# Short names for what developers and operators do; `make help` lists them.
# Works on the current cluster of kubectl. On a lab cluster: hack/cluster exec -- make deploy

KUBECTL ?= kubectl
PYTHON ?= python3

# The image of the operator; all three images, or none of them on a lab cluster (default: localhost/gastown-operator:dev).
IMG ?=

# The image with clone, keeper and gateway (default: localhost/gastown-workload:dev).
WORKLOAD_IMG ?=

# The image with the agents (default: localhost/gastown-agent:dev).
AGENT_IMG ?=

# Work in these namespaces alone, such as NAMESPACES=gastown-workers,team-a (default: all).
NAMESPACES ?=

# Serve the metrics over TLS with this Secret of type kubernetes.io/tls, to whom RBAC lets (default: plain HTTP).
METRICS_SECRET ?=

# Secrets in gastown-system that the operator may read, and mirrors to where rigs work, such as CREDENTIALS=claude-credentials,git-credentials (default: none).
CREDENTIALS ?=

# A file with prices of models, as of the operator's --model-prices (default: the known ones).
MODEL_PRICES ?=

# Further options of the operator, such as ARGS="--https-proxy http://proxy:3128 --metrics-namespace monitoring"; docs/reference/options.md has them all (default: none).
ARGS ?=

# By the environment, so that the shell does not read them.
export ARGS MODEL_PRICES

comma = ,
OURS = app.kubernetes.io/name=gastown-operator,app.kubernetes.io/component=operator

# The operator's own parser looks at these two, and it needs the operator's packages.
CHECKED = $(strip $(ARGS)$(MODEL_PRICES))

RENDER = $(if $(CHECKED),.venv/bin/python,$(PYTHON)) hack/render.py \
	$(if $(IMG),--operator '$(IMG)') $(if $(WORKLOAD_IMG),--workload '$(WORKLOAD_IMG)') $(if $(AGENT_IMG),--agent '$(AGENT_IMG)') \
	$(if $(NAMESPACES),--namespaces '$(NAMESPACES)') $(if $(METRICS_SECRET),--metrics-secret '$(METRICS_SECRET)') \
	$(if $(CREDENTIALS),--credentials '$(CREDENTIALS)') $(if $(MODEL_PRICES),--model-prices="$$MODEL_PRICES") $(if $(ARGS),--args=" $$ARGS")

POLICIES_SERVED = $(KUBECTL) get --raw /apis/admissionregistration.k8s.io/v1 | grep -q '"validatingadmissionpolicies"'

.DEFAULT_GOAL := help
.PHONY: help environment generate validate test images install uninstall deploy withdraw undeploy

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; echo 'options of deploy:'; awk '/^# /{text = substr($$0, 3)} /^[A-Z_]+ \?= *$$/{printf "%-15s %s\n", $$1, text}' $(MAKEFILE_LIST)

environment: ## make .venv with the locked development packages
	@hack/environment

generate: environment ## write the CRDs anew from the API classes, and docs/reference/options.md from the operator's parser
	.venv/bin/python -m gastown_operator.api.crd
	.venv/bin/python -m hack.options_page

validate: environment ## all static checks: formatting, lint, types, import contracts, drift of generated files
	.venv/bin/tox run --quiet -e static

test: ## every test; makes the cluster and the images that it needs
	hack/test

images: ## build the container images (needs root)
	hack/images

install: ## apply the CRDs to the current cluster
	$(KUBECTL) apply --server-side --force-conflicts -f manifests/crd
	$(KUBECTL) wait --for=condition=Established --timeout=60s -f manifests/crd

uninstall: ## remove the CRDs, and with them every Rig and Polecat
	$(KUBECTL) delete --ignore-not-found -f manifests/crd

deploy: $(if $(CHECKED),environment) $(addprefix namespace-,$(filter-out gastown-workers,$(subst $(comma), ,$(NAMESPACES)))) ## deploy the operator: make deploy IMG=… WORKLOAD_IMG=… AGENT_IMG=… [NAMESPACES=…] [OPTION=…]
	@manifests=$$($(RENDER)) && printf '%s\n' "$$manifests" | $(KUBECTL) apply -f -
	@if $(POLICIES_SERVED); then $(PYTHON) hack/render.py --policies | $(KUBECTL) apply -f -; \
		else echo 'make: this server has no ValidatingAdmissionPolicy in v1 (Kubernetes 1.30): who may edit Polecats may forge their status'; fi
	@$(MAKE) --no-print-directory withdraw
	@$(PYTHON) hack/rollout.py --kubectl '$(KUBECTL)'

namespace-%:
	@$(KUBECTL) get namespace $* >/dev/null || { echo 'make: NAMESPACES names a namespace that is not there: kubectl create namespace $*' >&2; exit 1; }

# `apply` leaves what is no longer asked for, and a right that is left is a right.
withdraw:
	$(if $(NAMESPACES),$(KUBECTL) delete --ignore-not-found clusterrolebinding/gastown-operator-work)
	$(if $(METRICS_SECRET),,$(KUBECTL) delete --ignore-not-found clusterrolebinding/gastown-operator-metrics-access)
	$(if $(CREDENTIALS),,$(FORGET_CREDENTIALS))
	$(if $(MODEL_PRICES),,$(KUBECTL) --namespace gastown-system delete --ignore-not-found configmap/gastown-model-prices)
	$(if $(NAMESPACES),$(KUBECTL) delete --ignore-not-found clusterrolebinding/gastown-operator-copies)
	@for namespace in $$($(KUBECTL) get rolebindings --all-namespaces --field-selector metadata.name=gastown-operator-work \
		--output 'jsonpath={.items[*].metadata.namespace}'); do \
		case ',$(NAMESPACES),' in *",$$namespace,"*) ;; *) \
			$(KUBECTL) --namespace "$$namespace" delete --ignore-not-found rolebinding/gastown-operator-work rolebinding/gastown-operator-copies ;; esac; done

FORGET_CREDENTIALS = $(KUBECTL) delete --ignore-not-found clusterrole/gastown-operator-copies clusterrolebinding/gastown-operator-copies && \
	$(KUBECTL) --namespace gastown-system delete --ignore-not-found role/gastown-operator-credentials rolebinding/gastown-operator-credentials

undeploy: ## remove the operator, whatever options it was deployed with; the work namespace and the CRDs stay
	@if $(KUBECTL) get polecats --all-namespaces --output 'jsonpath={.items[*].metadata.finalizers}' 2>/dev/null | grep -q gastown.io/; then \
		echo 'make: Polecats of rigs with a budget are there, which only the operator lets go: kubectl delete polecats --all --all-namespaces' >&2; exit 1; fi
	$(PYTHON) hack/render.py --removable | $(KUBECTL) delete --ignore-not-found -f -
	@if $(POLICIES_SERVED); then \
		$(KUBECTL) delete validatingadmissionpolicies,validatingadmissionpolicybindings --selector '$(OURS)'; fi
	$(KUBECTL) delete clusterroles,clusterrolebindings --selector '$(OURS)'
	$(KUBECTL) delete roles,rolebindings --all-namespaces --selector '$(OURS)'
