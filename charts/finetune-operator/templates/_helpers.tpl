{{/* Names are quoted wherever they stand: YAML would take 2024 for a number, and null for nothing. */}}

{{/* A name at its longest, which is a label's 63, with no dash at its end. */}}
{{- define "finetune-operator.cut" -}}
{{- trunc 63 . | regexFind "^.*[a-z0-9]" -}}
{{- end -}}

{{- define "finetune-operator.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end -}}

{{/* The name of most objects. A release's name is at most 53 long, so that what is cut never makes two releases one. */}}
{{- define "finetune-operator.fullname" -}}
{{- $name := include "finetune-operator.name" . -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- $full := printf "%s-%s" $release $name -}}
{{- if .Values.fullnameOverride -}}
{{- $full = .Values.fullnameOverride -}}
{{- else if contains $name $release -}}
{{- $full = $release -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]" $full) -}}
{{- fail (printf "a Service's name begins with a letter, %q does not: name the release otherwise, or set fullnameOverride" $full) -}}
{{- end -}}
{{- include "finetune-operator.cut" $full -}}
{{- end -}}

{{/* The name with a suffix; where that is too long, a hash keeps names apart that differ in what is cut.
Given: (dict "root" $ "suffix" "leader") */}}
{{- define "finetune-operator.suffixed" -}}
{{- $full := include "finetune-operator.fullname" .root -}}
{{- if le (add (len $full) (len .suffix)) 62 -}}
{{- printf "%s-%s" $full .suffix -}}
{{- else -}}
{{- $kept := trunc (sub 53 (len .suffix) | int) $full | regexFind "^.*[a-z0-9]" -}}
{{- printf "%s-%s-%s" $kept (sha256sum $full | trunc 8) .suffix -}}
{{- end -}}
{{- end -}}

{{/* A name for what belongs to no namespace: releases of one name in two namespaces stay apart. Roles may hold colons. */}}
{{- define "finetune-operator.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "finetune-operator.fullname" .) -}}
{{- end -}}

{{- define "finetune-operator.selector" -}}
app.kubernetes.io/name: {{ include "finetune-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "finetune-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "finetune-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "finetune-operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "finetune-operator.fullname" .) -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false: the operator's rights are bound to it" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* An image by digest, else by tag, else of the chart's version; given: (dict "image" VALUES "root" $) */}}
{{- define "finetune-operator.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* A quantity as it was written: a large number would else become 1.7e+10. */}}
{{- define "finetune-operator.quantity" -}}
{{- toJson . | trimAll "\"" -}}
{{- end -}}

{{/* Two operators of one namespace would wait for the same Lease, and the second look after nothing. */}}
{{- define "finetune-operator.refuseSecond" -}}
{{- range (lookup "apps/v1" "Deployment" .Release.Namespace "").items -}}
{{- $labels := .metadata.labels | default dict -}}
{{- $chart := index $labels "helm.sh/chart" | default "" -}}
{{- $release := index $labels "app.kubernetes.io/instance" | default "" -}}
{{- if and (hasPrefix (printf "%s-" $.Chart.Name) $chart) (ne $release $.Release.Name) -}}
{{- fail (printf "the release %s has an operator in the namespace %s, and a second one there would only stand by for it: install into another namespace, or raise replicas" $release $.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The rights on runs and what belongs to them. docs/reference/rbac.md says why each. */}}
{{- define "finetune-operator.rules" -}}
- apiGroups: [finetune.dev]
  resources: [finetuneruns]
  verbs: [get, list, watch]
- apiGroups: [finetune.dev]
  resources: [finetuneruns/status]
  verbs: [patch]
- apiGroups: [finetune.dev]
  resources: [finetuneruns/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [get, list, create]
{{- end -}}
