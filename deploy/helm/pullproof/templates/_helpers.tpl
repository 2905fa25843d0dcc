{{/* Names, labels, the configurations, and the rights that follow from them. */}}

{{- define "pullproof.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "pullproof.fullname" -}}
{{- $name := include "pullproof.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "pullproof.collector" -}}{{ include "pullproof.fullname" . }}-collector{{- end -}}

{{- define "pullproof.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "pullproof.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "pullproof.selector" -}}
app.kubernetes.io/name: {{ include "pullproof.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The collector's pods are not the daemon's, so their name differs. */}}
{{- define "pullproof.collectorLabels" -}}
app.kubernetes.io/name: {{ include "pullproof.name" . }}-collector
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "pullproof.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "pullproof.fullname" .) -}}
{{- else -}}
{{- required "serviceAccount.create is false: name the one to use in serviceAccount.name" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "pullproof.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* true, or nothing: whether a Job collects. */}}
{{- define "pullproof.hasJob" -}}
{{- if and .Values.collection.enabled (eq .Values.collection.by "job") -}}true{{- end -}}
{{- end -}}

{{- define "pullproof.isStartedByDaemon" -}}
{{- if and (include "pullproof.hasJob" .) (eq .Values.collection.start "daemon") -}}true{{- end -}}
{{- end -}}

{{/* The daemon's configuration: the values', and what the chart adds where they say nothing. */}}
{{- define "pullproof.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := set $config "state" (merge (deepCopy ($config.state | default dict)) (dict "directory" "/var/lib/pullproof")) -}}
{{- $http := deepCopy ($config.http | default dict) -}}
{{- if .Values.http.tls.secretName -}}
{{- $_ := set $http "tls" (dict "file" "/etc/pullproof/tls/tls.crt" "keyFile" "/etc/pullproof/tls/tls.key") -}}
{{- end -}}
{{- if .Values.http.token.secretName -}}
{{- $_ := set $http "token" (dict "file" "/etc/pullproof/token/token") -}}
{{- end -}}
{{- if $http -}}{{- $_ := set $config "http" $http -}}{{- end -}}
{{- if include "pullproof.isStartedByDaemon" . -}}
{{- $gc := deepCopy ($config.gc | default dict) -}}
{{- if not (hasKey $gc "collector") -}}
{{- $_ := set $gc "collector" (dict "job" (dict "namespace" .Values.collection.namespace "template" "/etc/pullproof/collector/job.yaml")) -}}
{{- end -}}
{{- $_ := set $config "gc" $gc -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The Job's. */}}
{{- define "pullproof.collectorConfig" -}}
{{- $config := deepCopy .Values.collection.config -}}
{{- if not $config.inventory -}}
{{- $url := printf "https://%s.%s.svc:%v" (include "pullproof.fullname" .) .Release.Namespace .Values.service.uiPort -}}
{{- $peer := dict "name" "daemon" "url" $url "ca" (dict "file" "/etc/pullproof/daemon/ca.crt") "token" (dict "file" "/etc/pullproof/daemon/token") -}}
{{- $_ := set $config "inventory" (dict "peers" (list $peer)) -}}
{{- end -}}
{{- if not $config.leaderElection -}}
{{- $_ := set $config "leaderElection" (dict "lease" (dict "namespace" .Values.collection.namespace "name" (include "pullproof.collector" .))) -}}
{{- end -}}
{{- $_ := set $config "state" (merge (deepCopy ($config.state | default dict)) (dict "directory" "/var/lib/pullproof")) -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The port of "HOST:PORT" or ":PORT". */}}
{{- define "pullproof.metricsPort" -}}{{- regexFind "[0-9]+$" (dig "http" "metrics" ":8080" .Values.config) -}}{{- end -}}
{{- define "pullproof.uiPort" -}}{{- regexFind "[0-9]+$" (dig "http" "ui" ":8081" .Values.config) -}}{{- end -}}

{{/* Which part of this cluster is read: {all: true}, {namespaces: […]}, or neither where only others are. */}}
{{- define "pullproof.reads" -}}
{{- $inventory := .Values.config.inventory | default dict -}}
{{- $namespaces := list -}}
{{- $all := not (or $inventory.clusters $inventory.peers $inventory.references $inventory.manifests) -}}
{{- range $inventory.clusters -}}
{{- if .inCluster -}}
{{- if .namespaces -}}{{- $namespaces = concat $namespaces .namespaces -}}{{- else -}}{{- $all = true -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "all" $all "namespaces" (uniq $namespaces | sortAlpha) | toJson -}}
{{- end -}}

{{/*
What collects may do, by its configuration: .config, .namespace, .lease (whether it always has one). As
{lease, pods, deployments, switch, conflicts, service, job}; names are of the namespace's Deployments.
*/}}
{{- define "pullproof.needs" -}}
{{- $namespace := .namespace -}}
{{- $gcs := list (.config.gc | default dict) -}}
{{- $service := false -}}
{{- range .config.registries -}}
{{- with .gc -}}{{- $gcs = append $gcs . -}}{{- end -}}
{{- if .service -}}
{{- $service = true -}}
{{- if ne .service.namespace $namespace -}}{{- fail (printf "registries[].service is in the namespace %q, and collection.namespace is %q: they have to be one" .service.namespace $namespace) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $looks := list -}}{{- $switches := list -}}{{- $conflicts := false -}}{{- $job := false -}}
{{- $managed := false -}}{{- $rollout := false -}}
{{- range $gcs -}}
{{- $workload := dig "settle" "workload" dict . -}}
{{- $deployment := dig "readOnly" "deployment" dict . -}}
{{- range list $workload $deployment -}}
{{- if . -}}
{{- if ne .namespace $namespace -}}{{- fail (printf "gc names a workload in the namespace %q, and collection.namespace is %q: they have to be one" .namespace $namespace) -}}{{- end -}}
{{- $looks = append $looks .name -}}
{{- end -}}
{{- end -}}
{{- if eq (dig "readOnly" "mode" "" .) "managed" -}}{{- $managed = true -}}{{- end -}}
{{- if eq (dig "settle" "restart" "" .) "rollout" -}}{{- $rollout = true -}}{{- end -}}
{{- if dig "conflicts" "workloads" list . -}}{{- $conflicts = true -}}{{- end -}}
{{- if dig "executor" "kubernetesJob" dict . -}}{{- $job = true -}}{{- end -}}
{{- end -}}
{{- if or $managed $rollout -}}{{- $switches = $looks -}}{{- end -}}
{{- $lease := dig "leaderElection" "lease" dict .config -}}
{{- if and $lease (ne $lease.namespace $namespace) -}}{{- fail (printf "leaderElection.lease is in the namespace %q, and what collects may have one in %q only" $lease.namespace $namespace) -}}{{- end -}}
{{- dict "lease" ($lease.name | default "") "deployments" (uniq $looks | sortAlpha) "switch" (uniq $switches | sortAlpha) "conflicts" $conflicts "service" $service "job" $job | toJson -}}
{{- end -}}

{{/* A role and its binding to the daemon: .root, .name, .rules; in the namespaces that are read, or everywhere. */}}
{{- define "pullproof.grant" -}}
{{- $root := .root -}}{{- $name := .name -}}{{- $rules := .rules -}}
{{- $reads := include "pullproof.reads" $root | fromJson -}}
{{- if $reads.all }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $name }}
  labels:
    {{- include "pullproof.labels" $root | nindent 4 }}
rules:
  {{- toYaml $rules | nindent 2 }}
{{- include "pullproof.clusterBinding" (dict "root" $root "name" $name) }}
{{- else }}
{{- range $reads.namespaces }}
{{- include "pullproof.role" (dict "root" $root "name" $name "namespace" . "rules" $rules "account" (include "pullproof.serviceAccount" $root) "of" $root.Release.Namespace) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "pullproof.clusterBinding" }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "pullproof.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "pullproof.serviceAccount" .root }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{/* A Role and its binding to a ServiceAccount: .root, .name, .namespace, .rules, .account, .of (its namespace). */}}
{{- define "pullproof.role" }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "pullproof.labels" .root | nindent 4 }}
rules:
  {{- toYaml .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "pullproof.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .of }}
{{- end -}}

{{/* What collects, in the registry's namespace: .root, .config, .prefix, .account, .of. */}}
{{- define "pullproof.collectorRoles" -}}
{{- $root := .root -}}
{{- $namespace := $root.Values.collection.namespace -}}
{{- $needs := include "pullproof.needs" (dict "config" .config "namespace" $namespace) | fromJson -}}
{{- $to := dict "root" $root "namespace" $namespace "account" .account "of" .of -}}
{{- if $needs.lease }}
{{- $rules := list (dict "apiGroups" (list "coordination.k8s.io") "resources" (list "leases") "verbs" (list "create")) (dict "apiGroups" (list "coordination.k8s.io") "resources" (list "leases") "resourceNames" (list $needs.lease) "verbs" (list "get" "update")) }}
{{- include "pullproof.role" (merge (dict "name" (printf "%s-lease" .prefix) "rules" $rules) $to) }}
{{- end }}
{{- if $needs.deployments }}
{{- $rules := list (dict "apiGroups" (list "") "resources" (list "pods") "verbs" (list "list")) (dict "apiGroups" (list "apps") "resources" (list "deployments") "resourceNames" $needs.deployments "verbs" (list "get")) }}
{{- include "pullproof.role" (merge (dict "name" (printf "%s-pods" .prefix) "rules" $rules) $to) }}
{{- end }}
{{- if $needs.switch }}
{{- $rules := list (dict "apiGroups" (list "apps") "resources" (list "deployments") "resourceNames" $needs.switch "verbs" (list "patch")) }}
{{- include "pullproof.role" (merge (dict "name" (printf "%s-switch" .prefix) "rules" $rules) $to) }}
{{- end }}
{{- $rules := list }}
{{- if $needs.conflicts }}
{{- $rules = concat $rules (list (dict "apiGroups" (list "batch") "resources" (list "cronjobs" "jobs") "verbs" (list "list")) (dict "apiGroups" (list "") "resources" (list "pods") "verbs" (list "list"))) }}
{{- end }}
{{- if $needs.service }}
{{- $rules = append $rules (dict "apiGroups" (list "discovery.k8s.io") "resources" (list "endpointslices") "verbs" (list "list")) }}
{{- end }}
{{- if $rules }}
{{- include "pullproof.role" (merge (dict "name" (printf "%s-look" .prefix) "rules" $rules) $to) }}
{{- end }}
{{- if $needs.job }}
{{- $rules := list (dict "apiGroups" (list "batch") "resources" (list "jobs") "verbs" (list "create" "delete" "get")) (dict "apiGroups" (list "") "resources" (list "pods") "verbs" (list "list")) }}
{{- include "pullproof.role" (merge (dict "name" (printf "%s-executor-job" .prefix) "rules" $rules) $to) }}
{{- end }}
{{- end -}}
