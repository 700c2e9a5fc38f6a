{{- define "supernode.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "supernode.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "supernode.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "supernode.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* A Service's name is a DNS label, of 63 characters at most, its ending included. */}}
{{- define "supernode.metricsName" -}}
{{- include "supernode.fullname" . | trunc 55 | trimSuffix "-" }}-metrics
{{- end }}

{{/* Of what lies in kube-system, where other releases may have theirs. */}}
{{- define "supernode.reportsName" -}}
{{- include "supernode.fullname" . | trunc 50 | trimSuffix "-" }}-card-reports
{{- end }}

{{- define "supernode.selectorLabels" -}}
app.kubernetes.io/name: {{ include "supernode.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "supernode.labels" -}}
{{ include "supernode.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "supernode.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "supernode.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "supernode.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}
